package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/store"
)

// mostInput is the longest join token that is read, in bytes.
const mostInput = 1 << 20

func (a *app) joinVerb() *cobra.Command {
	var file, dir string
	c := &cobra.Command{
		Use:   "join -f FILE|- [--identity DIRECTORY]",
		Short: "Become who a join token says: get a certificate on this host",
		Long: `Join makes a private key on this host, which never leaves it, and has a
certificate for it signed by Vault with the join token that "keyorch enroll"
printed. Certificate, key, authorities and the addresses of the servers are kept in
a directory that only you can read. What runs with --identity DIRECTORY, or with
KEYORCH_IDENTITY, needs no other setting; it renews its certificate by itself.

For agents the default directory is where "keyorch agent" looks for it.`,
		Example: `  keyorch join -f dc2.join
  ssh admin@bastion keyorch enroll dc2 | keyorch join -f -`,
		Args: noArguments,
	}
	c.Flags().StringVarP(&file, "filename", "f", "", "the file with the join token, or - for standard input (required)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if file == "" {
			return fault.New(fault.Invalid, "join: say where the join token is with -f")
		}
		dir = a.identityFlag
		text, err := a.fileOrInput(file)
		if err != nil {
			return err
		}
		token, err := identity.ParseJoinToken(string(text))
		if err != nil {
			return err
		}
		return a.join(c.Context(), token, identity.Directory(cmp.Or(dir, a.getenv(envIdentity), a.identityDir(token.Identity))))
	}
	return c
}

func (a *app) join(ctx context.Context, token identity.JoinToken, dir identity.Directory) error {
	if now := time.Now(); now.After(token.Expires) {
		return fault.New(fault.Refused, "join as %s: the token was good until %s: enroll again, or compare the clocks", token.Identity, token.Expires.Format(time.RFC3339))
	}
	until, err := wiring.Join(ctx, token, dir)
	if err != nil {
		return err
	}
	a.tellJoined(ctx, dir)
	_, err = fmt.Fprintf(a.out, "joined as %s: certificate until %s in %s\n", token.Identity, until.UTC().Format(time.RFC3339), string(dir))
	return err
}

// tellJoined writes down that this host joined, as who it is now. The certificate is signed by
// then, so what cannot be written is only said.
func (a *app) tellJoined(ctx context.Context, dir identity.Directory) {
	ctx, cancel := context.WithTimeout(ctx, refusalTime)
	defer cancel()
	env, err := asJoined(func(string) string { return "" }, dir)
	if err == nil {
		var s *store.Store
		if s, err = store.Open(ctx, store.EnvConfig(env)); err == nil {
			host, _ := os.Hostname()
			err = s.Append(ctx, deed("join", outcomeDone, audit.Record{Details: map[string]string{"host": host}}))
			_ = s.Close()
		}
	}
	if err != nil {
		_, _ = fmt.Fprintf(a.err, "the trail was not told of it: %v\n", err)
	}
}

// identityDir is where an identity is kept when nobody says.
func (a *app) identityDir(id identity.Identity) string {
	if id.Role == identity.Agent {
		return a.stateDir(string(id.Site)) + "/identity"
	}
	return a.stateDir(string(id.Role)) + "/identity"
}

func readLimited(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, mostInput))
	return text, fault.Wrap(fault.Invalid, err, "read the join token")
}
