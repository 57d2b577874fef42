package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// invitationLife is how long a join token is good for when nobody says.
const invitationLife = 15 * time.Minute

// shortestLife is the least that certificates and tokens may last: some tries to renew
// them have to fit in.
const shortestLife = 30 * time.Second

// somebody is whom enroll and revoke are about, as flags and an argument say it.
type somebody struct {
	node, worker, operator, auditor string
}

func (q *somebody) flags(c *cobra.Command) {
	c.Flags().StringVar(&q.worker, "worker", "", "a worker of this name, in place of a site")
	c.Flags().StringVar(&q.operator, "operator", "", "an operator of this name, in place of a site")
	c.Flags().StringVar(&q.auditor, "auditor", "", "an auditor of this name, in place of a site")
}

// person is the identity that the flags name, if they name one.
func (q *somebody) person() (identity.Identity, bool, error) {
	var found []identity.Identity
	for role, name := range map[identity.Role]string{identity.Worker: q.worker, identity.Operator: q.operator, identity.Auditor: q.auditor} {
		if name != "" {
			found = append(found, identity.Identity{Role: role, Person: name})
		}
	}
	switch len(found) {
	case 0:
		return identity.Identity{}, false, nil
	case 1:
		return found[0], true, found[0].Valid()
	}
	return identity.Identity{}, false, fault.New(fault.Invalid, "name one of --worker, --operator and --auditor")
}

// identity is whom the flags and the arguments name.
func (q *somebody) identity(args []string) (identity.Identity, error) {
	id, named, err := q.person()
	switch {
	case err != nil:
		return id, err
	case named && (len(args) > 0 || q.node != ""):
		return id, fault.New(fault.Invalid, "name a site, or one of --worker, --operator and --auditor, and not both")
	case named:
		return id, nil
	case len(args) == 0:
		return id, fault.New(fault.Invalid, "say whom: a site, or --worker, --operator or --auditor NAME")
	}
	id = identity.Identity{Role: identity.Agent, Site: keychain.SiteID(args[0]), Node: keychain.NodeID(q.node)}
	return id, id.Valid()
}

// enrolling is what enroll was told.
type enrolling struct {
	somebody
	auth, account, audience, out string
	life                         time.Duration
	certLife, tokenLife          time.Duration
	again, dry                   bool
}

func (a *app) enrollVerb() *cobra.Command {
	var q enrolling
	c := &cobra.Command{
		Use:   "enroll SITE [--node N] | --worker NAME | --operator NAME | --auditor NAME",
		Short: "Let a site's agents, a worker or a person in, and print a token to join with",
		Long: `Enroll makes a user with its role in etcd, and in Vault the policy, the role to log
in with and the role that signs its certificates. Then it prints a join token, for
"keyorch join" on the host that it is for. The token works once and not for long.
Whoever has it first is who it says: hand it over as you would a password.

With --node the identity is that of one node and may nothing that its site's other
nodes may. With --auth kubernetes there is no token: the pods of the service
account log in by themselves.

It can be repeated: each time a host joins it needs a token of its own.`,
		Example: `  keyorch enroll dc2 --out dc2.join
  keyorch enroll dc2 --node dc2-spine1
  keyorch enroll dc2 --auth kubernetes --service-account keyorch/keyorch-agent-dc2
  keyorch enroll --operator alice`,
		Args: named(0, 1, "name one site"),
	}
	q.somebody.flags(c)
	f := c.Flags()
	f.StringVar(&q.node, "node", "", "only this node of the site")
	f.StringVar(&q.auth, "auth", string(identity.ByCertificate), "how it logs in to Vault: cert, approle or kubernetes")
	f.StringVar(&q.account, "service-account", "", "with --auth kubernetes: whose pods, as NAMESPACE/NAME")
	f.StringVar(&q.audience, "audience", "", "with --auth kubernetes: whom the pod's token must be for")
	f.DurationVar(&q.life, "ttl", invitationLife, "how long the join token is good for")
	f.DurationVar(&q.certLife, "cert-ttl", 0, "how long its certificates are valid (default 168h)")
	f.DurationVar(&q.tokenLife, "token-ttl", 0, "how long Vault's tokens live if they are not renewed (default 1h)")
	f.StringVar(&q.out, "out", "", "write the join token to this file, which only you can read")
	f.BoolVar(&q.again, "again", false, "enroll who was revoked: etcd's members have been restarted since")
	f.BoolVar(&q.dry, "dry-run", false, "say what would be done, change nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := q.somebody.identity(args)
		if err != nil {
			return err
		}
		return a.enroll(c.Context(), id, q)
	}
	return c
}

// enrolment is what Vault is asked for.
func (q *enrolling) enrolment(id identity.Identity, keks []string) (custody.Enrolment, error) {
	e := custody.Enrolment{
		Identity: id, Auth: identity.Auth(q.auth), KEKs: keks, Audience: q.audience,
		CertLife: q.certLife, TokenLife: q.tokenLife, JoinLife: q.life,
	}
	kubernetes := e.Auth == identity.ByKubernetes
	if kubernetes != (q.account != "") {
		return e, fault.New(fault.Invalid, "--auth kubernetes and --service-account NAMESPACE/NAME go together")
	}
	if kubernetes {
		namespace, name, ok := strings.Cut(q.account, "/")
		if !ok || keychain.ValidName(namespace) != nil || name == "" {
			return e, fault.New(fault.Invalid, "--service-account %q: it is like NAMESPACE/NAME", q.account)
		}
		e.Namespaces, e.ServiceAccounts = []string{namespace}, []string{name}
	}
	switch {
	case q.life < time.Minute || q.life > 24*time.Hour:
		return e, fault.New(fault.Invalid, "--ttl %v: from 1m to 24h", q.life)
	case q.certLife != 0 && q.certLife < shortestLife, q.tokenLife != 0 && q.tokenLife < shortestLife:
		return e, fault.New(fault.Invalid, "--cert-ttl, --token-ttl: at least %v", shortestLife)
	}
	return e, nil
}

func (a *app) enroll(ctx context.Context, id identity.Identity, q enrolling) error {
	s, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := s.Whole(ctx); err != nil {
		return err
	}
	vault, err := a.openCustody(ctx)
	if err != nil {
		return err
	}
	old, err := s.Enrolment(ctx, id)
	if err != nil {
		return err
	}
	if !old.RevokedAt.IsZero() && !q.again {
		return fault.New(fault.Refused, `enroll %s: it was revoked at %s: a connection to etcd from before may still watch its orders, which nobody can open:
restart the members of etcd one after the other, and say --again`, id, old.RevokedAt.UTC().Format(time.RFC3339))
	}
	id = old.Next()
	keks, err := mayOpen(ctx, s, id)
	if err != nil {
		return err
	}
	e, err := q.enrolment(id, keks)
	if err != nil {
		return err
	}
	looked, err := custody.Administration{Vault: vault, Dry: true}.Enrol(ctx, e)
	if err != nil {
		return err
	}
	if q.dry {
		return asTable.steps(a.out, append(vaultSteps(looked), step{serverEtcd, "user and role of " + id.CommonName(), "would be made sure of", ""}))
	}
	old.Identity, old.Auth = id, e.Auth
	steps, err := a.letIn(ctx, s, vault, old, e)
	_ = asTable.steps(a.err, steps) // the token alone goes to standard output
	if err != nil {
		return err
	}
	if e.Auth == identity.ByKubernetes {
		_, err := fmt.Fprintf(a.out, "pods of %s log in with KEYORCH_VAULT_AUTH=kubernetes KEYORCH_VAULT_ROLE=%s\n", q.account, id)
		return err
	}
	return a.invite(ctx, vault, e, q)
}

// letIn makes an identity known: first the record of it, so that revoke knows of
// whatever comes after.
func (a *app) letIn(ctx context.Context, s *store.Store, vault *custody.Custody, record store.Enrolment, e custody.Enrolment) ([]step, error) {
	record.At, record.By, record.RevokedAt, record.RevokedBy = time.Now().UTC(), s.User(), time.Time{}, ""
	who := deed("enroll", outcomeDone, audit.Record{Site: record.Identity.Site, Node: record.Identity.Node,
		Details: map[string]string{"identity": record.Identity.CommonName(), "logs in to vault with": string(record.Auth)}})
	if _, err := s.PutEnrolment(ctx, record, who); err != nil {
		return nil, err
	}
	admitted, err := s.Admit(ctx, e.Identity)
	steps := etcdSteps(admitted, false)
	if err != nil {
		return steps, err
	}
	done, err := custody.Administration{Vault: vault}.Enrol(ctx, e)
	return append(steps, vaultSteps(done)...), err
}

// invite prints a join token, or writes it to a file.
func (a *app) invite(ctx context.Context, vault *custody.Custody, e custody.Enrolment, q enrolling) error {
	in, err := custody.Administration{Vault: vault}.Invite(ctx, e.Identity, q.life)
	if err != nil {
		return err
	}
	token, err := wiring.JoinToken(a.getenv, e, in)
	if err != nil {
		return err
	}
	text, err := token.Text()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.err, "%s may join until %s, once: keyorch join -f FILE\n", e.Identity, in.Expires.Format(time.RFC3339))
	if q.out == "" {
		_, err = fmt.Fprintln(a.out, text)
		return err
	}
	return whole(q.out, func(to io.Writer) error {
		_, err := fmt.Fprintln(to, text)
		return fault.Wrap(fault.Invalid, err, "--out")
	})
}

// mayOpen is the KEKs that an agent gets with its enrolment.
func mayOpen(ctx context.Context, s *store.Store, id identity.Identity) ([]string, error) {
	if id.Role != identity.Agent {
		return nil, nil
	}
	t, err := s.Topology(ctx)
	if err != nil {
		return nil, err
	}
	standing, err := s.Standing(ctx)
	if err != nil {
		return nil, err
	}
	inUse, err := inUseWithout(ctx, s, standing)
	if err != nil {
		return nil, err
	}
	return wiring.KEKsOf(t.Without(standing), inUse, id), nil
}

// fileOrInput reads a file, or standard input when it is named "-".
func (a *app) fileOrInput(name string) ([]byte, error) {
	if name == "-" {
		return readLimited(a.in)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read the join token")
	}
	defer func() { _ = f.Close() }()
	return readLimited(f)
}
