package store

import (
	"context"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
)

// nobody is a name below which nothing stands, for trials.
const nobody = "keyorch-doctor"

// Forbidden are some of the things that an identity must not be able to do, one of
// each kind. What is left out here is no right: only Roles gives rights.
func Forbidden(prefix string, i identity.Identity) []Grant {
	l := rootOf(prefix)
	observations := grant(Writes, l.siteObservations(nobody))
	topology := grant(Writes, l.topology())
	links := grant(Writes, l.links())
	inbox, chain := grant(Writes, l.inboxOf(nobody)), grant(Writes, l.blocks())
	switch i.Role {
	case identity.Agent:
		own := grant(Writes, l.siteOrders(i.Site))
		return []Grant{grant(Reads, l.siteOrders(nobody)), grant(Reads, l.links()), observations, own, topology, inbox, chain, grant(Reads, l.blocks())}
	case identity.Worker:
		return []Grant{observations, grant(Writes, l.siteAgents(nobody)), topology}
	case identity.Operator:
		return []Grant{grant(Writes, l.siteOrders(nobody)), links, observations, grant(Writes, l.enrolments()), inbox, chain}
	case identity.Auditor:
		return []Grant{topology, links, grant(Writes, l.exclusions()), observations, inbox, chain}
	case identity.Admin:
	}
	return nil
}

// String says what is granted, as in "reads /keyorch/v1/links/".
func (g Grant) String() string { return string(g.Access) + " " + g.From }

// Try asks etcd whether this side may do what g says, without doing it: it reads one
// key at most and writes nothing. Refused: etcd denies it.
func (s *Store) Try(ctx context.Context, g Grant) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// etcd looks at the rights for both branches before it takes one, and without a condition it
	// takes the first, which does nothing. A condition would have to be read, and not everybody who writes may read.
	for _, op := range g.trials() {
		var err error
		if op.IsGet() {
			_, err = s.client.Do(ctx, op)
		} else {
			_, err = s.client.Txn(ctx).Else(op).Commit()
		}
		if err != nil {
			return s.tried(ctx, err, g)
		}
	}
	return nil
}

// trials are a read and a write that g allows, or one of them.
func (g Grant) trials() (ops []clientv3.Op) {
	if g.Access != Writes {
		options := []clientv3.OpOption{clientv3.WithLimit(1), clientv3.WithKeysOnly()}
		if g.To != "" {
			options = append(options, clientv3.WithRange(g.To))
		}
		ops = append(ops, clientv3.OpGet(g.From, options...))
	}
	if g.Access == Reads {
		return ops
	}
	key := g.From
	if g.To != "" {
		key = strings.TrimSuffix(g.From, "/") + "/" + nobody
	}
	return append(ops, clientv3.OpPut(key, ""))
}

// Lacking is how much an identity has to be able to do, and what etcd denies of that to this
// side. When it denies nothing, which is so unless something is wrong, one request tells. An error
// says that etcd did not answer, or Invalid that there is no such identity.
func (s *Store) Lacking(ctx context.Context, i identity.Identity) (needed int, lacking []Grant, err error) {
	roles, err := RolesOf(s.config.Prefix, i)
	if err != nil {
		return 0, nil, err
	}
	var grants []Grant
	var all []clientv3.Op
	for _, r := range roles {
		for _, g := range r.Grants {
			grants, all = append(grants, g), append(all, g.trials()...)
		}
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err = s.client.Txn(call).Else(all...).Commit(); !denied(err) {
		return len(grants), nil, s.classified(ctx, err, "try what etcd allows")
	}
	for _, g := range grants {
		if err := s.Try(ctx, g); fault.Is(err, fault.Refused) {
			lacking = append(lacking, g)
		} else if err != nil {
			return len(grants), nil, err
		}
	}
	return len(grants), lacking, nil
}

func (s *Store) tried(ctx context.Context, err error, g Grant) error {
	if denied(err) {
		return fault.New(fault.Refused, "%s: %w", g, rpctypes.ErrPermissionDenied)
	}
	return s.classified(ctx, err, "try whether etcd allows: %s", g)
}

// WrappedFor names the KEKs under which the keys in the orders of a site are wrapped,
// or those of one node, when node is not empty: what its agent must be able to open.
// A broken order is left out.
func (s *Store) WrappedFor(ctx context.Context, site keychain.SiteID, node keychain.NodeID) ([]string, error) {
	if err := validNames(string(site)); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read the orders of %q", site)
	}
	sp := s.keys.siteOrders(site)
	if node != "" {
		sp = s.keys.orders(site, node)
	}
	entries, _, err := s.list(ctx, sp)
	if err != nil {
		return nil, err
	}
	var keks []string
	seen := make(map[string]bool)
	for _, e := range entries {
		o, err := s.keys.ordered(e)
		if err != nil {
			continue
		}
		for _, w := range append(o.Accept, o.Send) {
			if !w.Wrapped.IsZero() && !seen[w.Wrapped.KEK] {
				seen[w.Wrapped.KEK] = true
				keks = append(keks, w.Wrapped.KEK)
			}
		}
	}
	return keks, nil
}
