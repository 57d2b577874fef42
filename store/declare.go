package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// Applied is what became of one declaration.
type Applied struct {
	Kind, Name string
	Action     Action
}

// Action is what an apply did to a declaration, in kubectl's words.
type Action string

// The actions.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
)

// Topology is everything declared. A broken document is left out and named by a
// Mismatch error, which comes with the rest.
func (s *Store) Topology(ctx context.Context) (topology.Topology, error) {
	t, _, err := s.TopologyAt(ctx)
	return t, err
}

// TopologyAt is Topology with the revision to hand to Apply. What it reads may
// be newer than that revision, never older.
func (s *Store) TopologyAt(ctx context.Context) (topology.Topology, int64, error) {
	entries, base, err := s.declarations(ctx)
	if err != nil {
		return topology.Topology{}, 0, err
	}
	d := declared{}
	var errs []error
	for _, e := range entries {
		errs = append(errs, d.put(s.keys, e))
	}
	return d.topology(), base, errors.Join(errs...)
}

// declarations reads the revision first: whoever applies after that is noticed
// by the guard of Apply.
func (s *Store) declarations(ctx context.Context) (map[string]entry, int64, error) {
	key := s.keys.topologyRevision()
	found, err := s.read(ctx, []string{key})
	if err != nil {
		return nil, 0, err
	}
	list, _, err := s.list(ctx, s.keys.topology())
	if err != nil {
		return nil, 0, err
	}
	entries := make(map[string]entry, len(list))
	for _, e := range list {
		entries[e.key] = e
	}
	return entries, found[key].mod, nil
}

// Apply writes the declarations of t that are new or changed, and leaves those
// that t does not name. Base is the revision that TopologyAt gave with the
// topology that t was validated against; Refused says that somebody else applied
// since.
//
// What fits into one transaction (about a megabyte, or four thousand
// declarations) is applied as one. More is written in several, in the order in
// which declarations refer to each other, so that a reader in between sees no
// dangling reference, and each is guarded by the revision that the first one
// took: another apply either comes before all of it, or stops the rest of it
// with Refused, and the operator runs it again. After any error but Refused at
// the start, a part may have been written; applying again completes it.
//
// Every declaration that is new or changed is said in the trail, and records with the first
// of the transactions.
func (s *Store) Apply(ctx context.Context, base int64, t topology.Topology, records ...audit.Record) ([]Applied, error) {
	trail, err := s.note(records)
	if err != nil {
		return nil, err
	}
	docs, err := documents(s.keys, t)
	if err != nil {
		return nil, err
	}
	stored, now, err := s.declarations(ctx)
	if err != nil {
		return nil, err
	}
	if now != base {
		return nil, overtaken()
	}
	applied := make([]Applied, len(docs))
	elsewhere := s.keys.nodeKeys(stored)
	var changed []declaration
	for i, d := range docs {
		old, exists := stored[d.key]
		if d.kind == topology.KindNode {
			d.gone = slices.DeleteFunc(elsewhere[d.name], func(key string) bool { return key == d.key })
		}
		applied[i] = Applied{Kind: d.kind, Name: d.name, Action: Unchanged}
		switch {
		case !exists && len(d.gone) == 0:
			applied[i].Action = Created
		case !exists || len(d.gone) > 0 || !bytes.Equal(old.value, d.doc):
			applied[i].Action = Configured
		default:
			continue
		}
		d.record.Verb = string(applied[i].Action)
		if d.notes, err = s.note([]audit.Record{d.record}); err != nil {
			return nil, err
		}
		changed = append(changed, d)
	}
	if len(changed) == 0 && !trail.empty() {
		return applied, s.Append(ctx, records...)
	}
	for len(changed) > 0 {
		n := fitting(changed)
		ops := []clientv3.Op{clientv3.OpPut(s.keys.topologyRevision(), "")}
		for _, d := range changed[:n] {
			ops, trail = append(ops, clientv3.OpPut(d.key, string(d.doc))), trail.and(d.notes)
			for _, key := range d.gone {
				ops = append(ops, clientv3.OpDelete(key))
			}
		}
		held, rev, err := s.transact(ctx, []clientv3.Cmp{at(s.keys.topologyRevision(), base)}, append(ops, s.inbox(trail)...)...)
		if err != nil {
			return nil, s.failed(ctx, err, "write the topology to etcd")
		}
		if !held {
			return nil, overtaken()
		}
		base, changed, trail = rev, changed[n:], notes{}
	}
	return applied, nil
}

// nodeKeys gives the keys under which each node is declared: one, unless somebody
// wrote past keyorch.
func (l layout) nodeKeys(stored map[string]entry) map[string][]string {
	keys := make(map[string][]string)
	for key := range stored {
		if p, ok := l.parse(key); ok && p.isNode() {
			keys[p.names[2]] = append(keys[p.names[2]], key)
		}
	}
	return keys
}

func overtaken() error {
	return fault.New(fault.Refused, "apply the topology: somebody else applied meanwhile: run it again")
}

// fitting is how many of the declarations go into one transaction, at least one.
func fitting(ds []declaration) int {
	size, ops := 0, 1+nestOps // some are for the trail
	for i, d := range ds {
		size += len(d.doc) + len(d.name) + d.notes.size()
		ops += 1 + len(d.gone)
		if i > 0 && (size > maxBytes || ops > maxNested) {
			return i
		}
	}
	return len(ds)
}

// declaration is one document on its way to etcd.
type declaration struct {
	kind, name string
	key        string
	doc        []byte
	gone       []string // where the same node was declared, for other sites
	record     audit.Record
	notes      notes
}

// documents writes every declaration of t. The kinds are in the order in which
// they refer to each other: a declaration names only what stands before it.
func documents(keys layout, t topology.Topology) ([]declaration, error) {
	var out []declaration
	var errs []error
	add := func(kind, name, key string, v any, names ...string) {
		doc, err := json.Marshal(v)
		if err == nil {
			err = validNames(append(names, name)...)
		}
		if err != nil {
			errs = append(errs, fault.Wrap(fault.Invalid, err, "apply %s %q", kind, name))
			return
		}
		sum := sha256.Sum256(doc)
		out = append(out, declaration{kind: kind, name: name, key: key, doc: doc, record: audit.Record{Kind: audit.Declaration,
			Details: map[string]string{"kind": kind, "name": name, "sha256": hex.EncodeToString(sum[:])}}})
	}
	plain := func(kind, name string, v any) { add(kind, name, keys.declaration(kind, name), v) }
	// last is the record of what was added last, if it was.
	last := func(name string) *audit.Record {
		if n := len(out); n > 0 && out[n-1].name == name {
			return &out[n-1].record
		}
		return new(audit.Record)
	}
	for _, v := range t.Sites {
		plain(topology.KindSite, string(v.Name), v)
		last(string(v.Name)).Site = v.Name
	}
	for _, v := range t.Policies {
		plain(topology.KindPolicy, v.Name, v)
	}
	for _, v := range t.Webhooks {
		plain(topology.KindWebhook, v.Name, v)
	}
	for _, v := range t.ApprovalRules {
		plain(topology.KindApprovalRule, v.Name, v)
	}
	for _, v := range t.Nodes {
		add(topology.KindNode, string(v.Name), keys.node(v.Site, v.Name), v, string(v.Site))
		r := last(string(v.Name))
		r.Node, r.Site = v.Name, v.Site
	}
	for _, v := range t.Links {
		plain(topology.KindLink, string(v.Name), v)
		r := last(string(v.Name))
		r.Link, r.Entered = v.Name, &audit.Entered{Holders: holders(v)}
	}
	return out, errors.Join(errs...)
}

// holders are the nodes of a link as it is declared: their sites are declared elsewhere.
func holders(l topology.Link) []audit.Holder {
	var all []audit.Holder
	for _, n := range slices.Concat(l.Upstream, l.Downstream) {
		all = append(all, audit.Holder{Node: n})
	}
	return all
}
