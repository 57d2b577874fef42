package agents

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// device is a simple device of one node, on both sides. All is guarded by
// world.mu.
type device struct {
	w            *world
	id           keychain.NodeID
	counterBound bool
	ports        map[keychain.LinkID]*port

	fail  error           // what every operation answers, having done nothing
	hang  chan struct{}   // what every operation waits for; nil: nothing
	hangs keychain.LinkID // the only link on which operations hang; empty: all
	deaf  bool            // an operation that hangs does not heed its context
	hung  int             // how many operations have hung

	// began counts, by link and epoch, how often a key began to be sent with from
	// counter zero; more than once is what must never happen.
	began map[string]int
	ops   []string
	turns map[keychain.LinkID]keychain.Turn // highest seen in an SA
	check func(sa keychain.SA)              // looks at every changing operation
	// promise looks at every changing operation as it happens, under world.mu.
	promise func(what string, sa keychain.SA)
	clings  bool // it says that it removes keys, and does not
}

type port struct {
	accepts map[keychain.Epoch]keychain.KCV
	sends   keychain.Ref
	held    map[keychain.Epoch]keychain.KCV // sending keys with their counters
	packets map[keychain.Epoch]uint64
}

func (w *world) device(id keychain.NodeID) *device {
	return &device{w: w, id: id, ports: make(map[keychain.LinkID]*port), began: make(map[string]int),
		turns: make(map[keychain.LinkID]keychain.Turn)}
}

func (d *device) node() Node { return Node{ID: d.id, Upstream: sender{d}, Downstream: receiver{d}} }

func (d *device) port(link keychain.LinkID) *port {
	if d.ports[link] == nil {
		d.ports[link] = &port{accepts: make(map[keychain.Epoch]keychain.KCV), held: make(map[keychain.Epoch]keychain.KCV)}
	}
	return d.ports[link]
}

// reboot loses every key and counter.
func (d *device) reboot() { d.w.change(func() { clear(d.ports) }) }

func (d *device) set(f func()) { d.w.change(f) }

func (d *device) capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: 4, SwitchSeparate: true, CounterBound: d.counterBound}
}

// op is one operation of the agent on the device.
func (d *device) op(ctx context.Context, what string, sa keychain.SA, f func(*port) error) error {
	d.w.mu.Lock()
	hang, deaf := d.hang, d.deaf
	if d.hangs != "" && d.hangs != sa.Link {
		hang = nil
	}
	d.w.mu.Unlock()
	if hang != nil {
		d.set(func() { d.hung++ })
		if deaf {
			ctx = context.WithoutCancel(ctx)
		}
		select {
		case <-hang:
		case <-ctx.Done():
			return fault.Wrap(fault.Unknown, ctx.Err(), "%s on %s", what, d.id)
		}
	}
	run := func() error {
		if d.fail != nil {
			return d.fail
		}
		if sa.Turn != 0 {
			if sa.Turn < d.turns[sa.Link] {
				d.w.t.Errorf("%s on %s: turn %d after turn %d", what, d.id, sa.Turn, d.turns[sa.Link])
			}
			d.turns[sa.Link] = sa.Turn
			if d.promise != nil {
				d.promise(what, sa)
			}
			d.ops = append(d.ops, fmt.Sprintf("%s %s %d", what, sa.Link, sa.Epoch))
		}
		return f(d.port(sa.Link))
	}
	if sa.Turn == 0 {
		d.w.mu.Lock()
		defer d.w.mu.Unlock()
		return run()
	}
	if d.check != nil {
		d.check(sa)
	}
	return d.w.do(what, run)
}

type receiver struct{ *device }

func (r receiver) Capabilities() keychain.Capabilities { return r.capabilities() }

func (r receiver) Observe(ctx context.Context, link keychain.LinkID) (o downstream.Observation, err error) {
	err = r.op(ctx, "observe", keychain.SA{Link: link}, func(p *port) error {
		for _, e := range slices.Sorted(maps.Keys(p.accepts)) {
			o.Accepts = append(o.Accepts, keychain.Ref{Epoch: e, KCV: p.accepts[e]})
		}
		o.Packets = maps.Clone(p.packets)
		return nil
	})
	return o, err
}

func (r receiver) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	kcv := kcvOf(key)
	return r.op(ctx, "install", sa, func(p *port) error {
		p.accepts[sa.Epoch] = kcv
		return nil
	})
}

func (r receiver) Remove(ctx context.Context, sa keychain.SA) error {
	return r.op(ctx, "remove", sa, func(p *port) error {
		if !r.clings {
			delete(p.accepts, sa.Epoch)
		}
		return nil
	})
}

type sender struct{ *device }

func (s sender) Capabilities() keychain.Capabilities { return s.capabilities() }

func (s sender) Observe(ctx context.Context, link keychain.LinkID) (o upstream.Observation, err error) {
	err = s.op(ctx, "observe", keychain.SA{Link: link}, func(p *port) error {
		o.Sends = p.sends
		for _, e := range slices.Sorted(maps.Keys(p.held)) {
			o.Holds = append(o.Holds, keychain.Ref{Epoch: e, KCV: p.held[e]})
		}
		return nil
	})
	return o, err
}

func (s sender) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	kcv := kcvOf(key)
	return s.op(ctx, "switch", sa, func(p *port) error {
		if p.sends.Epoch == sa.Epoch {
			return nil
		}
		// One with counters keeps the key before, and what is older goes.
		maps.DeleteFunc(p.held, func(e keychain.Epoch, _ keychain.KCV) bool { return !s.counterBound || e != p.sends.Epoch })
		p.sends = keychain.Ref{Epoch: sa.Epoch, KCV: kcv}
		p.held[sa.Epoch] = kcv
		s.began[fmt.Sprintf("%s/%d", sa.Link, sa.Epoch)]++
		return nil
	})
}

func (s sender) Resume(ctx context.Context, sa keychain.SA) error {
	return s.op(ctx, "resume", sa, func(p *port) error {
		kcv, ok := p.held[sa.Epoch]
		if !ok {
			return fault.New(fault.Refused, "resume epoch %d: it is not there", sa.Epoch)
		}
		p.sends = keychain.Ref{Epoch: sa.Epoch, KCV: kcv}
		return nil
	})
}

// reused lists what was sent with from counter zero more than once.
func (d *device) reused() (keys []string) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	for k, n := range d.began {
		if n > 1 {
			keys = append(keys, k)
		}
	}
	return keys
}

func kcvOf(key secret.Key) keychain.KCV {
	check, err := key.Check()
	if err != nil {
		panic(err)
	}
	return keychain.KCVOf(check)
}
