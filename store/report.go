package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// Observations is what the node last reported, by whatever agent, sorted by
// link. A broken document is left out and named by a Mismatch error, which comes
// with the rest.
func (t *Tenure) Observations(ctx context.Context) ([]Observation, error) {
	entries, _, err := t.s.list(ctx, t.s.keys.observations(t.site, t.node))
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var observations []Observation
	var errs []error
	for _, e := range entries {
		o, err := t.learn(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		observations = append(observations, o)
	}
	return observations, errors.Join(errs...)
}

// learn notes what stands in etcd about a link. A broken observation counts as
// Turn zero, so that the next report mends it.
func (t *Tenure) learn(e entry) (Observation, error) {
	p, ok := t.s.keys.parse(e.key)
	if !ok {
		return Observation{}, broken(e.key)
	}
	var o Observation
	err := decode(e, &o)
	if err == nil && (o.Link != p.link() || o.Node != p.node() || o.Site != p.site()) {
		err = broken(e.key)
	}
	if err != nil {
		o = Observation{}
	}
	t.known[p.link()] = known{mod: e.mod, turn: o.Turn}
	return o, err
}

// Report writes what the node says of itself, a few dozen observations to a
// transaction. Nothing is written once the tenure has ended (Stale), and no
// observation over one of a newer Turn: that one alone is Stale, which the error
// names, and the others are written. The same Turn may be written again. After
// Unavailable a part may have been written, and repeating is safe.
//
// The Records of an observation are written in its transaction, also when it is Stale: they
// tell what happened. Repeating may write them twice.
func (t *Tenure) Report(ctx context.Context, obs ...Observation) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	obs, err := t.latest(obs)
	errs := []error{err}
	for chunk := range slices.Chunk(obs, maxOps/2) {
		if err := t.report(ctx, chunk); err != nil {
			errs = append(errs, err)
			if fault.Of(err).Retryable() || t.done.Err() != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// latest leaves one observation a link: the one with the highest Turn, the last
// of those.
func (t *Tenure) latest(obs []Observation) ([]Observation, error) {
	out := make([]Observation, 0, len(obs))
	var errs []error
	index := make(map[keychain.LinkID]int, len(obs))
	for _, o := range obs {
		if o.Node != t.node || o.Site != t.site {
			errs = append(errs, fault.New(fault.Invalid, "report %s of %s/%s: the tenure is for %s/%s", o.Link, o.Site, o.Node, t.site, t.node))
			continue
		}
		if err := validNames(o.Link); err != nil {
			errs = append(errs, fault.Wrap(fault.Invalid, err, "report %q", o.Link))
			continue
		}
		i, found := index[o.Link]
		switch {
		case !found:
			index[o.Link] = len(out)
			out = append(out, o)
		case o.Turn >= out[i].Turn:
			o.Records = slices.Concat(out[i].Records, o.Records)
			out[i] = o
		default:
			out[i].Records = slices.Concat(out[i].Records, o.Records)
		}
	}
	return out, errors.Join(errs...)
}

// report writes what fits into one transaction. It starts from what the tenure
// believes to stand there; only when that is wrong, or nothing is known yet, it
// reads first.
func (t *Tenure) report(ctx context.Context, obs []Observation) error {
	var records []audit.Record
	for _, o := range obs {
		records = append(records, o.Records...)
	}
	trail, err := t.s.note(records)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "report %s of %s", obs[0].Link, t.node)
	}
	var stale []error
	for range attempts {
		if t.done.Err() != nil {
			return t.over()
		}
		if err := t.refresh(ctx, obs); err != nil {
			return err
		}
		obs, stale = t.fresh(obs, stale)
		if len(obs) == 0 {
			if !trail.empty() {
				stale = append(stale, t.tell(ctx, trail))
			}
			return errors.Join(stale...)
		}
		guards := []clientv3.Cmp{at(t.key, t.mod)}
		var puts []clientv3.Op
		for _, o := range obs {
			key := t.s.keys.observation(t.site, t.node, o.Link)
			doc, err := json.Marshal(o)
			if err != nil {
				return fault.Wrap(fault.Invalid, err, "report %s", o.Link)
			}
			guards = append(guards, at(key, t.known[o.Link].mod))
			puts = append(puts, clientv3.OpPut(key, string(doc)))
		}
		held, rev, err := t.s.transact(ctx, guards, append(puts, t.s.inbox(trail)...)...)
		for _, o := range obs {
			delete(t.known, o.Link) // until it is known what happened
			if held {
				t.known[o.Link] = known{mod: rev, turn: o.Turn}
			}
		}
		if err != nil {
			return t.s.failed(ctx, err, "report %s of %s", obs[0].Link, t.node)
		}
		if held {
			return errors.Join(stale...)
		}
	}
	return fault.New(fault.Unavailable, "report %s of %s: the observations change all the time", obs[0].Link, t.node)
}

// tell writes records without observations.
func (t *Tenure) tell(ctx context.Context, trail notes) error {
	held, _, err := t.s.transact(ctx, []clientv3.Cmp{at(t.key, t.mod)}, t.s.inbox(trail)...)
	if err == nil && !held {
		return t.over()
	}
	return t.s.failed(ctx, err, "write records of %s", t.node)
}

// refresh reads what is not known, together with the presence.
func (t *Tenure) refresh(ctx context.Context, obs []Observation) error {
	keys := []string{t.key}
	for _, o := range obs {
		if _, ok := t.known[o.Link]; !ok {
			keys = append(keys, t.s.keys.observation(t.site, t.node, o.Link))
		}
	}
	if len(keys) == 1 {
		return nil
	}
	found, err := t.s.read(ctx, keys)
	if err != nil {
		return err
	}
	if found[t.key].mod != t.mod {
		t.end()
		return t.over()
	}
	for _, o := range obs {
		key := t.s.keys.observation(t.site, t.node, o.Link)
		if e, ok := found[key]; ok {
			_, _ = t.learn(e) // a broken one is overwritten
		} else if _, ok := t.known[o.Link]; !ok {
			t.known[o.Link] = known{}
		}
	}
	return nil
}

// fresh takes out what is older than what stands there.
func (t *Tenure) fresh(obs []Observation, stale []error) ([]Observation, []error) {
	var out []Observation
	for _, o := range obs {
		if k := t.known[o.Link]; o.Turn < k.turn {
			stale = append(stale, fault.New(fault.Stale, "report %s of %s: turn %d has been reported, this is %d", o.Link, t.node, k.turn, o.Turn))
			continue
		}
		out = append(out, o)
	}
	return out, stale
}

func (t *Tenure) over() error {
	return fault.New(fault.Stale, "report on %s/%s: another agent serves it, or the lease ran out", t.site, t.node)
}
