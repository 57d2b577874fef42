package sim

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// do carries out one operation: through the node's faults, then on its end of
// the link at one instant, after all that was due on the link before.
func (w *Network) do(ctx context.Context, r request) (answer, error) {
	var n *node
	if r.Options != nil {
		n = w.node(r.Node, *r.Options)
	} else {
		n = w.node(r.Node)
	}
	loses, err := n.pass(ctx, r.Op)
	if err != nil {
		return answer{}, err
	}
	c := w.cable(r.Link)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(time.Now())
	p := c.port(n)
	if err := p.carryOut(r); err != nil {
		return answer{}, err
	}
	if loses {
		return answer{}, fault.New(fault.Unknown, "%s on %s: no answer", r.Op, n.id)
	}
	return p.answer(), nil
}

func (p *port) carryOut(r request) error {
	k := installed{ref: r.Ref}
	copy(k.key[:], r.Tag)
	p.node.mu.Lock()
	corrupt, most := p.node.corrupt, p.node.options.capabilities().AcceptMany
	p.node.mu.Unlock()
	if corrupt {
		k = corrupted(k)
	}
	switch r.Op {
	case OpObserve:
		return nil
	case OpInstall:
		return p.install(k, most)
	case OpRemove:
		return p.remove(r.Ref.Epoch)
	case OpSwitch:
		return p.change(k)
	case OpResume:
		return p.resume(r.Ref)
	case OpAnyChange:
	}
	return fault.New(fault.Invalid, "no such operation: %q", r.Op)
}

func (p *port) install(k installed, most int) error {
	e := k.ref.Epoch
	if i := p.index(e); i >= 0 {
		return p.sameKey(OpInstall, p.accepts[i], k)
	}
	if len(p.accepts) >= most {
		return fault.New(fault.Refused, "install epoch %d on %s: it accepts %d keys at most", e, p.node.id, most)
	}
	at, _ := slices.BinarySearchFunc(p.accepts, e, func(k installed, e keychain.Epoch) int {
		return int(int64(k.ref.Epoch) - int64(e))
	})
	p.accepts = slices.Insert(p.accepts, at, k)
	return nil
}

func (p *port) remove(e keychain.Epoch) error {
	i := p.index(e)
	switch {
	case i < 0:
		return nil
	case len(p.accepts) == 1:
		return fault.New(fault.Refused, "remove epoch %d on %s: it is the last key", e, p.node.id)
	}
	p.accepts = slices.Delete(p.accepts, i, i+1)
	return nil
}

// change puts a key to use for sending, with a counter that starts at nought:
// also one that the node still holds. Whoever switches to a key that was used
// before reuses its counter, and is found out.
func (p *port) change(k installed) error {
	if p.sends != nil && p.sends.ref.Epoch == k.ref.Epoch {
		return p.sameKey(OpSwitch, p.sends.installed, k)
	}
	p.held = slices.DeleteFunc(p.held, func(s *sending) bool {
		return s.ref.Epoch == k.ref.Epoch || !p.node.isCounterBound() // there is no counter to go back to
	})
	p.sends = &sending{installed: k}
	p.held = append(p.held, p.sends)
	if len(p.held) > heldMax {
		p.held = slices.Delete(p.held, 0, len(p.held)-heldMax)
	}
	return nil
}

func (p *port) resume(r keychain.Ref) error {
	i := slices.IndexFunc(p.held, func(s *sending) bool { return s.ref.Agrees(r) })
	if i < 0 {
		return fault.New(fault.Refused, "resume epoch %d on %s: it does not hold that key", r.Epoch, p.node.id)
	}
	p.sends = p.held[i]
	p.held = append(slices.Delete(p.held, i, i+1), p.sends)
	return nil
}

func (p *port) sameKey(op Op, have, k installed) error {
	if have.key != k.key {
		return fault.New(fault.Mismatch, "%s epoch %d on %s: it has another key under that epoch", op, k.ref.Epoch, p.node.id)
	}
	return nil
}

func (p *port) answer() answer {
	a := answer{Received: maps.Clone(p.received), Sent: maps.Clone(p.sent)}
	for _, k := range p.accepts {
		a.Accepts = append(a.Accepts, k.ref)
	}
	for _, k := range p.held {
		a.Holds = append(a.Holds, k.ref)
	}
	slices.SortFunc(a.Holds, func(a, b keychain.Ref) int { return cmp.Compare(a.Epoch, b.Epoch) })
	if p.sends != nil {
		a.Sends = p.sends.ref
	}
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	if p.node.lie {
		a.Accepts = lied(a.Accepts)
		if p.sends != nil {
			a.Sends = lied([]keychain.Ref{a.Sends})[0]
		}
	}
	return a
}
