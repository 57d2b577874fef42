package workflows_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// node is a device with its agent. It obeys the order of the committed state,
// unless something is wrong with it.
type node struct {
	id      keychain.NodeID
	delay   time.Duration  // from an order to its report
	dead    bool           // obeys nothing and says nothing
	lies    keychain.Epoch // has another key than everybody else under this epoch
	fault   string         // says this instead of obeying
	spoils  keychain.Epoch
	at      map[keychain.LinkID]*device
	ordered int // how many orders it was given
}

// device is what a node has for one link.
type device struct {
	turn    keychain.Turn
	accepts map[keychain.Epoch]keychain.KCV
	sends   keychain.Ref
	lost    []keychain.Epoch
}

// order has the node obey after its delay. The world is locked.
func (w *world) order(n *node, id keychain.LinkID) {
	n.ordered++
	if n.dead {
		return
	}
	time.AfterFunc(n.delay, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !n.dead {
			w.report(id, w.obey(n, id))
		}
	})
}

// obey does what the newest order asks, and reads the device back. The world is
// locked.
func (w *world) obey(n *node, id keychain.LinkID) keychain.Report {
	d := n.at[id]
	if d == nil {
		d = &device{accepts: map[keychain.Epoch]keychain.KCV{}}
		n.at[id] = d
	}
	for _, o := range link.Orders(w.records[id].State) {
		if o.Node == n.id && n.fault == "" && o.Turn >= d.turn {
			w.set(n, d, id, o)
		}
	}
	w.watch(id)
	return w.readBack(n, d)
}

// set makes the device as the order wants it.
func (w *world) set(n *node, d *device, id keychain.LinkID, o link.Order) {
	d.turn = o.Turn
	d.accepts = map[keychain.Epoch]keychain.KCV{}
	for _, k := range o.Accept {
		d.accepts[k.Epoch] = kcv(id, k.Epoch)
		if n.lies == k.Epoch {
			d.accepts[k.Epoch] = "beefbeefbe"
		}
	}
	e := o.Send.Epoch
	if e != 0 && e == n.spoils && !slices.Contains(d.lost, e) {
		d.lost = append(d.lost, e) // killed just before it switched
	}
	switch {
	case e == 0 || slices.Contains(d.lost, e):
	case n.lies == e:
		d.sends = keychain.Ref{Epoch: e, KCV: "beefbeefbe"}
	default:
		d.sends = keychain.Ref{Epoch: e, KCV: kcv(id, e)}
	}
}

func (w *world) readBack(n *node, d *device) keychain.Report {
	r := keychain.Report{Node: n.id, Turn: d.turn, Sends: d.sends, Lost: slices.Clone(d.lost), Fault: n.fault, At: time.Now()}
	for _, e := range slices.Sorted(maps.Keys(d.accepts)) {
		r.Accepts = append(r.Accepts, keychain.Ref{Epoch: e, KCV: d.accepts[e]})
	}
	if n.fault != "" {
		r.Turn, r.Message = w.turn(n.id), "the device says no"
	}
	return r
}

// turn is the highest Turn among the orders of a node: what a node that fails
// reports, since it has seen the order.
func (w *world) turn(n keychain.NodeID) (t keychain.Turn) {
	for _, r := range w.records {
		if slices.Contains(r.State.Nodes(), n) {
			t = max(t, r.State.Turn)
		}
	}
	return t
}

// report puts a report into the store. The world is locked.
func (w *world) report(id keychain.LinkID, r keychain.Report) {
	if w.reports[id] == nil {
		w.reports[id] = map[keychain.NodeID]keychain.Report{}
	}
	w.reports[id][r.Node] = r
	w.tell(id)
}

// says puts a report into the store, whatever the device is like.
func (w *world) says(id keychain.LinkID, r keychain.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report(id, r)
}

// watch checks the promise: what an upstream node sends with, every downstream
// node of the link accepts, and it is the same key. The world is locked.
func (w *world) watch(id keychain.LinkID) {
	s := w.records[id].State
	if s.Phase == link.Staging && s.Restaging() {
		return // a node that has just joined
	}
	for _, u := range s.Upstream {
		up := w.nodes[u].at[id]
		if up == nil || up.sends.IsZero() {
			continue
		}
		for _, n := range s.Downstream {
			down := w.nodes[n].at[id]
			if down == nil || down.accepts[up.sends.Epoch] != up.sends.KCV {
				w.broken = append(w.broken, fmt.Sprintf("%s sends %v on %s and %s does not accept it, in %v", u, up.sends, id, n, s.Phase))
			}
		}
	}
}

// change changes nodes, and has them look at their orders again.
func (w *world) change(to func(*node), ids ...keychain.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		to(w.nodes[id])
		for _, r := range w.records {
			if slices.Contains(r.State.Nodes(), id) {
				w.order(w.nodes[id], r.Link)
				w.tell(r.Link)
			}
		}
	}
}

func dead(n *node)  { n.dead = true }
func alive(n *node) { n.dead = false }
func slow(n *node)  { n.delay = 2 * time.Second }

// lose is a node that restarts and has lost the counter of the key that it sends
// with: it is silent until there is another.
func (w *world) lose(n keychain.NodeID, id keychain.LinkID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.nodes[n].at[id]
	if !d.sends.IsZero() {
		d.lost = append(d.lost, d.sends.Epoch)
	}
	d.sends = keychain.Ref{}
	w.report(id, w.readBack(w.nodes[n], d))
}
