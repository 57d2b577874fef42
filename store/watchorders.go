package store

import (
	"context"

	"github.com/keyorch/keyorch/keychain"
)

// OrderUpdate is news about one node's orders.
type OrderUpdate struct {
	// Snapshot says that Orders is all there are: an order that it does not name
	// does not exist any more.
	Snapshot bool
	Orders   []Order
	Deleted  []keychain.LinkID
	// Broken has a Mismatch for every document that could not be read. What such a
	// link's order was before still is its order.
	Broken []error
}

// WatchOrders calls f with the orders of one node, all of them first, then what
// changes, until ctx ends; f is never called twice at a time. After a
// compaction or a lost connection it begins again with all of them. While etcd is
// away it waits and tries again. It returns ctx's error, or Refused when etcd
// denies the permission.
func (s *Store) WatchOrders(ctx context.Context, site keychain.SiteID, node keychain.NodeID, f func(OrderUpdate)) error {
	return s.follow(ctx, s.keys.orders(site, node), orderFollower{s.keys, f})
}

type orderFollower struct {
	keys layout
	f    func(OrderUpdate)
}

func (o orderFollower) load(entries []entry, _ int64) {
	u := OrderUpdate{Snapshot: true}
	for _, e := range entries {
		o.add(&u, e)
	}
	o.f(u)
}

func (o orderFollower) apply(changes []change, _ int64) {
	if len(changes) == 0 {
		return
	}
	// Only the last word about a link counts, or a deleted order would seem to
	// stand beside the one that came after it.
	last := make(map[string]int, len(changes))
	for i, c := range changes {
		last[c.key] = i
	}
	var u OrderUpdate
	for i, c := range changes {
		switch p, ok := o.keys.parse(c.key); {
		case last[c.key] != i || !ok:
		case c.deleted:
			u.Deleted = append(u.Deleted, p.link())
		default:
			o.add(&u, c.entry)
		}
	}
	o.f(u)
}

func (o orderFollower) add(u *OrderUpdate, e entry) {
	order, err := o.keys.ordered(e)
	if err != nil {
		u.Broken = append(u.Broken, err)
		return
	}
	u.Orders = append(u.Orders, order)
}

// ordered reads an order.
func (l layout) ordered(e entry) (Order, error) {
	var order Order
	if err := decode(e, &order); err != nil {
		return Order{}, err
	}
	if l.order(order.Site, order.Node, order.Link) != e.key {
		return Order{}, broken(e.key)
	}
	return order, nil
}
