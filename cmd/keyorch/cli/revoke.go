package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

func (a *app) revokeVerb() *cobra.Command {
	var who somebody
	var reason string
	var timeout time.Duration
	var dry bool
	var with approving
	c := &cobra.Command{
		Use:   "revoke SITE | NODE | --worker NAME | --operator NAME | --auditor NAME --reason TEXT",
		Short: "Shut an identity out, and give new keys to every link that it could open",
		Long: `Revoke takes from an identity everything that it has: what it may open in Vault and
its tokens, its ways to log in and to get certificates, its user and its role in
etcd. Its connections may nothing from that moment on, and its agents' sessions end.

A site or a node is excluded as by "keyorch compromise" in the same breath: every
link that it was part of gets a new key without it, at once. It comes back with
"keyorch enroll --again" and "keyorch readmit".

A node can be revoked by itself when it was enrolled with --node. Otherwise the
site's identity opens what its other nodes are given too: revoke the site.`,
		Example: `  keyorch revoke dc2 --reason "host stolen"
  keyorch revoke dc2-spine1 --reason "host stolen" --dry-run
  keyorch revoke --operator alice --reason "left"`,
		Args: named(0, 1, "name one site or node"),
	}
	who.flags(c)
	with.flags(c)
	c.Flags().StringVar(&reason, "reason", "", "why: it is kept (required)")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for confirmations; 0 waits for ever")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, change nothing")
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		if reason == "" {
			return fault.New(fault.Invalid, "--reason: say why; it is kept")
		}
		enrolled, err := w.store.Enrolments(ctx)
		if err != nil {
			return err
		}
		r, err := revoking(enrolled, w.view.Topology(), who, args)
		if err != nil {
			return err
		}
		r.world, r.reason, r.timeout, r.out, r.approving = w, reason, timeout, *out, with
		return r.run(ctx, dry)
	})
	return c
}

// revocation is who is shut out, and whom that excludes from links.
type revocation struct {
	world   *world
	who     []store.Enrolment
	exclude *topology.Exclusion // nil for persons, and for sites that are not declared
	reason  string
	timeout time.Duration
	out     format

	approving approving
}

// revoking finds out whom who and args are about. Faults: Invalid (nobody is enrolled
// under that name), Refused (a node that has no identity of its own).
func revoking(enrolled []store.Enrolment, t topology.Topology, who somebody, args []string) (revocation, error) {
	live := func(match func(identity.Identity) bool) []store.Enrolment {
		return slices.DeleteFunc(slices.Clone(enrolled), func(e store.Enrolment) bool { return !match(e.Identity) || !e.RevokedAt.IsZero() })
	}
	nobody := func(name string) error {
		return fault.New(fault.Invalid, "revoke %s: nobody is enrolled under that name, or it is revoked already: see keyorch get identities; keyorch compromise goes on with the new keys of a site or node", name)
	}
	person, named, err := who.person()
	switch {
	case err != nil:
		return revocation{}, err
	case named && len(args) > 0 || !named && len(args) == 0:
		return revocation{}, fault.New(fault.Invalid, "say whom: one site or node, or --worker, --operator or --auditor NAME")
	case named:
		found := live(func(i identity.Identity) bool { return i.Role == person.Role && i.Person == person.Person })
		if len(found) == 0 {
			return revocation{}, nobody(person.CommonName())
		}
		return revocation{who: found}, nil
	}
	name := args[0]
	site, node := keychain.SiteID(name), keychain.NodeID(name)
	ofSite := live(func(i identity.Identity) bool { return i.Role == identity.Agent && i.Site == site })
	ofNode := live(func(i identity.Identity) bool { return i.Role == identity.Agent && i.Node == node })
	_, isNode := t.Node(node)
	isSite := slices.ContainsFunc(t.Sites, func(s topology.Site) bool { return s.Name == site })
	switch {
	case (len(ofSite) > 0 || isSite) && (len(ofNode) > 0 || isNode):
		return revocation{}, fault.New(fault.Refused, "revoke %s: there is a site and a node of that name: rename one of them, or use keyorch compromise", name)
	case len(ofSite) > 0:
		r := revocation{who: ofSite}
		if isSite {
			r.exclude = &topology.Exclusion{Site: site}
		}
		return r, nil
	case len(ofNode) > 0:
		r := revocation{who: ofNode}
		if isNode {
			r.exclude = &topology.Exclusion{Node: node}
		}
		return r, nil
	case isNode:
		n, _ := t.Node(node)
		return revocation{}, fault.New(fault.Refused, `revoke %s: it has no identity of its own; the one of site %s opens what all its nodes are given:
run keyorch revoke %s, or, when only the device is lost and not the agent's host, keyorch compromise --node %s`, name, n.Site, n.Site, name)
	}
	return revocation{}, nobody(name)
}

// run shuts out whom r names: first they are excluded, so that no order is written for
// them any more, and then everything is taken from them. Until the record of it is
// written, which comes last, it can be repeated from the beginning.
func (r revocation) run(ctx context.Context, dry bool) error {
	w := r.world
	vault, err := w.app.openCustody(ctx)
	if err != nil {
		return err
	}
	looked, err := r.fromVault(ctx, vault, true)
	if err != nil {
		return err
	}
	if dry {
		for _, e := range r.who {
			looked = append(looked, step{serverEtcd, "user " + e.Identity.CommonName(), "would be removed", ""})
		}
		if err := r.out.steps(w.app.out, looked); err != nil || r.exclude == nil {
			return err
		}
		return w.compromise(ctx, r.exclusion(), compromising{dry: true, out: r.out})
	}
	if r.exclude == nil {
		return r.ofNoLink(ctx, vault)
	}
	shut := func(ctx context.Context) error { return r.shut(ctx, vault) }
	err = w.compromise(ctx, r.exclusion(), compromising{
		verb: "revoke", timeout: r.timeout, out: r.out, shut: shut, approving: r.approving, revokes: r.names(),
	})
	if r.out == asTable {
		_, _ = fmt.Fprintf(w.app.out, "%s is shut out; keyorch enroll %s --again lets it in again\n", called(r.who), called(r.who))
	}
	return err
}

// ofNoLink revokes who is part of no link. What it needs approvals for no worker sees: it
// is done with the administrator's own rights, and so are the approvals used up.
func (r revocation) ofNoLink(ctx context.Context, vault *custody.Custody) error {
	w := r.world
	need := approval.Need{Plan: approval.Plan{Verb: approval.Revoke, About: r.names(), Reason: r.reason}, For: "the revocation of " + oneLine(r.names())}
	id, err := w.consent(ctx, need, r.approving)
	if err != nil {
		return err
	}
	about := r.about()
	about.Approval = id
	if err := w.announce(ctx, deed("revoke", outcomeAsked, about)); err != nil {
		return err
	}
	if id != "" {
		c, why := w.view.Rules().Consent(need, id, w.view.Asked, time.Now())
		if why != "" {
			return fault.New(fault.Refused, "revoke: %s", why)
		}
		if err := w.store.UseApprovals(ctx, c, audit.Record{Kind: audit.Approval, Verb: "used", Approval: id, Reason: r.reason, Details: map[string]string{"for": need.For}}); err != nil {
			return err
		}
	}
	return r.shut(ctx, vault)
}

// names are the common names of who is revoked, sorted.
func (r revocation) names() []string {
	var names []string
	for _, e := range r.who {
		names = append(names, e.Identity.CommonName())
	}
	slices.Sort(names)
	return names
}

// about is what a record says of it.
func (r revocation) about() audit.Record {
	names := r.names()
	first := r.who[0].Identity
	about := audit.Record{Site: first.Site, Reason: r.reason, Details: map[string]string{"identities": oneLine(names)}}
	if len(r.who) == 1 {
		about.Node = first.Node
	}
	return about
}

// shut takes everything from them.
func (r revocation) shut(ctx context.Context, vault *custody.Custody) error {
	steps, err := r.fromVault(ctx, vault, false)
	if err == nil {
		var expelled []step
		expelled, err = r.fromEtcd(ctx)
		steps = append(steps, expelled...)
	}
	_ = r.out.quiet().steps(r.world.app.out, steps)
	if err != nil {
		return err
	}
	return r.record(ctx)
}

// record writes down that they are revoked, so that nobody gets the same name again.
func (r revocation) record(ctx context.Context) error {
	for _, e := range r.who {
		e.RevokedAt, e.RevokedBy = time.Now().UTC(), r.world.store.User()
		if _, err := r.world.store.PutEnrolment(ctx, e, deed("revoke", outcomeDone, audit.Record{Site: e.Identity.Site, Node: e.Identity.Node, Reason: r.reason,
			Details: map[string]string{"identities": e.Identity.CommonName()}})); err != nil {
			return err
		}
	}
	return nil
}

func (r revocation) exclusion() topology.Exclusion {
	e := *r.exclude
	e.Reason = r.reason
	return e
}

func (r revocation) fromVault(ctx context.Context, vault *custody.Custody, dry bool) ([]step, error) {
	var steps []step
	for _, e := range r.who {
		done, err := custody.Administration{Vault: vault, Dry: dry}.Remove(ctx, e.Identity)
		if steps = append(steps, vaultSteps(done)...); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

func (r revocation) fromEtcd(ctx context.Context) ([]step, error) {
	var steps []step
	for _, e := range r.who {
		done, err := r.world.store.Expel(ctx, e.Identity)
		if steps = append(steps, etcdSteps(done, false)...); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

// called is the site, the node or the person of the first of who.
func called(who []store.Enrolment) string {
	switch i := who[0].Identity; {
	case i.Person != "":
		return i.Person
	case i.Node != "" && len(who) == 1:
		return string(i.Node)
	default:
		return string(i.Site)
	}
}
