package rules

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// drain is how long keyorch waits between the sender's change and the end of the
// old key.
const drain = 30 * time.Second

// keyorch is keyorch's own rule: a link changes when every receiver of it has said
// that it accepts the new key, and nothing else makes it change.
//
// Modelled: link.Step decides, link.Orders says what the ends are told, and what
// Step is told of them is what was read back from the device. What stands between
// the two in the product (orders and reports in etcd, an agent at the site, gates)
// is left out; reading back costs one operation more than the other rules take.
// A rotation that is not over when the next begins stays in place; the next one
// follows it.
func keyorch() Rule {
	return Rule{Name: "every receiver confirms first", Like: "keyorch", New: func(ctx context.Context, w *World) func(context.Context, keychain.Epoch) {
		return drive(ctx, w, func(s link.State) []link.Order { return link.Orders(s) })
	}}
}

// drive runs the machine of every link over its two ends, which are told what
// orders makes of its state.
func drive(ctx context.Context, w *World, orders func(link.State) []link.Order) func(context.Context, keychain.Epoch) {
	var all []*driven
	for _, l := range w.Links {
		d := &driven{
			Link: l, orders: orders, rotate: make(chan keychain.Epoch, Rotations+1), reports: make(chan keychain.Report, 1),
			steady: make(chan struct{}, Rotations+1),
			state:  link.New([]keychain.NodeID{l.Sender.Node}, []keychain.NodeID{l.Receiver.Node}),
		}
		all = append(all, d)
		w.running.Go(func() { d.run(ctx) })
		d.rotate <- 1
		select {
		case <-d.steady:
		case <-ctx.Done():
		}
	}
	return func(_ context.Context, e keychain.Epoch) {
		for _, d := range all {
			d.rotate <- e
		}
	}
}

// driven is one link with its state.
type driven struct {
	*Link
	state   link.State
	orders  func(link.State) []link.Order
	rotate  chan keychain.Epoch
	reports chan keychain.Report
	steady  chan struct{}
	wanted  keychain.Epoch // the newest epoch asked for
	asking  context.CancelFunc
}

// run feeds the machine until ctx ends.
func (d *driven) run(ctx context.Context) {
	var drained <-chan time.Time
	for {
		var event link.Event
		select {
		case <-ctx.Done():
			return
		case d.wanted = <-d.rotate:
		case r := <-d.reports:
			event = link.Reported{Report: r}
		case <-drained:
			drained, event = nil, link.Drained{Turn: d.state.Turn}
		}
		turn := d.state.Turn
		d.step(event)
		if d.state.Phase == link.Staging && len(d.state.Awaiting) == 0 {
			d.step(link.Cleared{Turn: d.state.Turn})
		}
		if d.state.Phase == link.Steady && turn != d.state.Turn {
			d.steady <- struct{}{}
		}
		if d.state.Phase == link.Steady && d.wanted > d.state.Highest {
			d.step(link.Rotate{Epoch: d.wanted})
		}
		if d.state.Turn == turn {
			continue
		}
		d.tell(ctx)
		if d.state.Phase == link.Draining {
			drained = time.After(scaled(drain))
		}
	}
}

// step leaves the state as it is when the machine refuses.
func (d *driven) step(e link.Event) {
	if e == nil {
		return
	}
	if next, err := link.Step(d.state, e); err == nil {
		d.state = next
	}
}

// tell asks both ends for what is ordered at this turn, and listens to what they
// report of it.
func (d *driven) tell(ctx context.Context) {
	if d.asking != nil {
		d.asking()
	}
	ctx, d.asking = context.WithCancel(ctx)
	for _, o := range d.orders(d.state) {
		side, wish := d.Sender, Wish{Send: o.Send.Epoch, ReadBack: true}
		if o.Node == d.Receiver.Node {
			side, wish = d.Receiver, Wish{ReadBack: true}
			for _, k := range o.Accept {
				wish.Accept = append(wish.Accept, k.Epoch)
			}
		}
		done := side.Ask(wish)
		go func() {
			select {
			case <-ctx.Done():
			case r := <-done:
				r.Turn = o.Turn
				select {
				case <-ctx.Done():
				case d.reports <- r:
				}
			}
		}()
	}
}
