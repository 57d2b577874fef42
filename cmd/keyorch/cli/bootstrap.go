package cli

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// The servers that bootstrap prepares.
const (
	serverEtcd     = "etcd"
	serverVault    = "vault"
	serverTemporal = "temporal"
)

// bootstrapping is what bootstrap was told.
type bootstrapping struct {
	only      []string
	dry       bool
	caOut     string
	kube      custody.Kubernetes
	kubeCA    string
	kubeToken string
	retention time.Duration
}

func (a *app) bootstrapVerb() *cobra.Command {
	var q bootstrapping
	c := &cobra.Command{
		Use:   "bootstrap",
		Short: "Prepare an empty etcd, Vault and Temporal, once",
		Long: `Bootstrap makes in Vault the engines, the certificate authority, the auth methods
and the policies, in etcd the roles and the access control, and in Temporal the
namespace. It can be repeated: what is there stays, what differs is set right.
Everything is looked at before anything is changed.

It needs the certificate of root for etcd (ETCDCTL_CERT), and an administrator's
token for Vault (VAULT_TOKEN). etcd must take users from certificates
(--client-cert-auth), and trust the authority that signs them: --ca-out writes the
authority of Vault's PKI for etcd's --trusted-ca-file. To have the same authority
for both, import it into Vault's PKI at keyorch-pki before.`,
		Example: `  keyorch bootstrap --dry-run
  keyorch bootstrap --only vault --ca-out keyorch-ca.crt
  keyorch bootstrap`,
		Args: noArguments,
	}
	f := c.Flags()
	f.StringSliceVar(&q.only, "only", nil, "prepare only these of etcd, vault and temporal")
	f.BoolVar(&q.dry, "dry-run", false, "say what would be done, change nothing")
	f.StringVar(&q.caOut, "ca-out", "", "write the authority of Vault's PKI to this file, as PEM")
	f.StringVar(&q.kube.Host, "kubernetes-host", "", "the API server that Vault asks about service accounts, as https://HOST:PORT")
	f.StringVar(&q.kubeCA, "kubernetes-ca", "", "the file with the API server's authorities")
	f.StringVar(&q.kubeToken, "kubernetes-reviewer-file", "", "a file with the token that Vault shows the API server (default: the one that logs in)")
	f.DurationVar(&q.retention, "temporal-retention", 7*24*time.Hour, "how long a new namespace keeps what has ended")
	out := formatFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := q.valid(); err != nil {
			return err
		}
		return a.bootstrap(c.Context(), q, *out)
	}
	return c
}

// valid reads the files that were named, and refuses what cannot be.
func (q *bootstrapping) valid() error {
	for _, s := range q.only {
		if !slices.Contains([]string{serverEtcd, serverVault, serverTemporal}, s) {
			return fault.New(fault.Invalid, "--only %s: it is etcd, vault or temporal", s)
		}
	}
	if (q.kube.Host == "") != (q.kubeCA == "") {
		return fault.New(fault.Invalid, "--kubernetes-host and --kubernetes-ca go together")
	}
	if q.kubeCA != "" {
		pem, err := os.ReadFile(q.kubeCA)
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "--kubernetes-ca")
		}
		q.kube.CA = string(pem)
	}
	if q.kubeToken != "" {
		token, err := os.ReadFile(q.kubeToken)
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "--kubernetes-reviewer-file")
		}
		q.kube.Reviewer = identity.Credential(token)
	}
	return nil
}

func (q *bootstrapping) wants(server string) bool {
	return len(q.only) == 0 || slices.Contains(q.only, server)
}

// bootstrap goes through everything twice: the first time it only looks, so that
// nothing has been changed when something cannot be done.
func (a *app) bootstrap(ctx context.Context, q bootstrapping, out format) error {
	looked, err := a.prepareAll(ctx, q, true)
	if err != nil || q.dry {
		return errorsAfter(out.steps(a.out, looked), err)
	}
	did, err := a.prepareAll(ctx, q, false)
	return errorsAfter(out.steps(a.out, did), err)
}

func (a *app) prepareAll(ctx context.Context, q bootstrapping, dry bool) ([]step, error) {
	var done []step
	for _, server := range []struct {
		name    string
		prepare func(context.Context, bootstrapping, bool) ([]step, error)
	}{{serverVault, a.prepareVault}, {serverEtcd, a.prepareEtcd}, {serverTemporal, a.prepareTemporal}} {
		if !q.wants(server.name) {
			continue
		}
		steps, err := server.prepare(ctx, q, dry)
		if done = append(done, steps...); err != nil {
			return done, err
		}
	}
	return done, nil
}

func (a *app) prepareVault(ctx context.Context, q bootstrapping, dry bool) ([]step, error) {
	vault, err := a.openCustody(ctx)
	if err != nil {
		return nil, err
	}
	var cluster *custody.Kubernetes
	if q.kube.Host != "" {
		cluster = &q.kube
	}
	done, err := custody.Administration{Vault: vault, Dry: dry}.Bootstrap(ctx, cluster)
	steps := vaultSteps(done)
	if err != nil || q.caOut == "" || dry {
		return steps, err
	}
	pem, err := vault.Authority(ctx, custody.Paths{})
	if err != nil {
		return steps, err
	}
	err = os.WriteFile(q.caOut, []byte(pem), 0o644)
	return append(steps, step{serverVault, "authority in " + q.caOut, "written", ""}), fault.Wrap(fault.Invalid, err, "--ca-out")
}

func (a *app) prepareEtcd(ctx context.Context, _ bootstrapping, dry bool) ([]step, error) {
	s, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	if !dry {
		if err := announce(ctx, s, deed("bootstrap", outcomeAsked, audit.Record{})); err != nil {
			return nil, err
		}
	}
	steps, err := s.PrepareAccess(ctx, nil, dry)
	return etcdSteps(steps, dry), err
}

func (a *app) prepareTemporal(ctx context.Context, q bootstrapping, dry bool) ([]step, error) {
	t, err := wiring.ReadTemporal(environment{a})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	name, made, err := t.EnsureNamespace(ctx, q.retention, dry)
	if err != nil {
		return nil, err
	}
	action := "exists"
	if made {
		action = would("created", dry)
	}
	return []step{{serverTemporal, "namespace " + name, action, ""}}, nil
}
