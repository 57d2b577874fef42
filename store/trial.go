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
	if g.Access != Writes {
		options := []clientv3.OpOption{clientv3.WithLimit(1), clientv3.WithKeysOnly()}
		if g.To != "" {
			options = append(options, clientv3.WithRange(g.To))
		}
		if _, err := s.client.Get(ctx, g.From, options...); err != nil {
			return s.tried(ctx, err, g)
		}
	}
	if g.Access == Reads {
		return nil
	}
	key := g.From
	if g.To != "" {
		key = strings.TrimSuffix(g.From, "/") + "/" + nobody
	}
	// etcd looks at the rights for both branches before it takes one, and without a condition it
	// takes the first, which does nothing. A condition would have to be read, and not everybody who writes may read.
	_, err := s.client.Txn(ctx).Else(clientv3.OpPut(key, "")).Commit()
	return s.tried(ctx, err, g)
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
