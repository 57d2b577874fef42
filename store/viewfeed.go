package store

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// news collects what one batch from etcd changed, for the subscriptions.
type news struct {
	links     map[keychain.LinkID]struct{}
	nodes     map[keychain.NodeID]struct{} // their presence
	campaigns map[string]struct{}          // their records and denials
	topology  bool                         // or what stands for a time: it concerns all links
}

func nothing() news {
	return news{
		links:     make(map[keychain.LinkID]struct{}),
		nodes:     make(map[keychain.NodeID]struct{}),
		campaigns: make(map[string]struct{}),
	}
}

// factsFollower keeps everything of a view but its topology.
type factsFollower struct{ v *View }

func (f factsFollower) load(entries []entry, rev int64) {
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	n := nothing()
	for id := range v.links {
		n.links[id] = struct{}{}
	}
	for node := range v.agents {
		n.nodes[node] = struct{}{}
	}
	for name := range v.campaigns {
		n.campaigns[name] = struct{}{}
	}
	for name := range v.denials {
		n.campaigns[name] = struct{}{}
	}
	n.topology = !v.decided.empty()
	v.forgetFacts()
	v.mend(func(p path) bool { return p.folder != inTopology })
	for _, e := range entries {
		v.put(e, &n)
	}
	v.rev.facts = rev
	v.loads.facts++
	v.tell(n)
}

// forgetFacts makes room for the facts to be read anew.
func (v *View) forgetFacts() {
	v.links = make(map[keychain.LinkID]*linkFacts)
	v.agents = make(map[keychain.NodeID][]sited)
	v.on = make(map[keychain.NodeID]map[keychain.LinkID]struct{})
	v.campaigns = make(map[string]campaign.Record)
	v.denials = make(map[string]map[keychain.LinkID]campaign.Denial)
	v.consents = noConsents()
	v.topology = nil // policies in force are part of it
	v.decided = decided{maintenance: make(map[string]topology.Maintenance), exclusions: make(map[string]topology.Exclusion)}
}

func (f factsFollower) watchesOn(stream context.Context) {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	f.v.streams.facts = stream
}

func (f factsFollower) apply(changes []change, rev int64) {
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	n := nothing()
	for _, c := range changes {
		if c.deleted {
			v.remove(c.key, &n)
		} else {
			v.put(c.entry, &n)
		}
	}
	v.rev.facts = rev
	v.tell(n)
}

// put takes in one document in place of the one that stood there.
func (v *View) put(e entry, n *news) {
	p, ok := v.s.keys.parse(e.key)
	if !ok {
		return // not ours
	}
	var err error
	switch p.folder {
	case inLinks:
		err = v.putRecord(p, e)
		n.links[p.link()] = struct{}{}
	case inObservations:
		err = v.putReport(p, e)
		n.links[p.link()] = struct{}{}
	case inAgents:
		s := sited{site: p.site()}
		err = decode(e, &s.agent) // one that cannot be read is somebody all the same
		v.agents[p.node()] = append(v.withoutAgent(p), s)
		n.nodes[p.node()] = struct{}{}
	case inCampaigns:
		err = v.putCampaign(p, e)
		n.campaigns[p.campaign()] = struct{}{}
	case inDenials:
		err = v.putDenial(p, e)
		n.campaigns[p.campaign()] = struct{}{}
	case inMaintenance, inExclusions:
		err = v.decided.put(v.s, p, e)
		n.topology = true
	case inApprovals:
		err = v.consents.put(v.s, p, e)
		v.consented(p, n)
	}
	delete(v.broken, e.key)
	if err != nil {
		v.broken[e.key] = err
	}
}

func (v *View) putRecord(p path, e entry) error {
	d, err := v.s.document(e)
	f := v.facts(p.link())
	v.place(p.link(), counted(f.record), counted(d.Record))
	f.record, f.sites = d.Record, d.Sites // zero if broken
	return err
}

func (v *View) putReport(p path, e entry) error {
	var o Observation
	err := decode(e, &o)
	if err == nil && (o.Link != p.link() || o.Node != p.node() || o.Site != p.site()) {
		err = broken(e.key)
	}
	f := v.facts(p.link())
	i, found := f.find(p)
	switch {
	case err != nil && found:
		f.reports = slices.Delete(f.reports, i, i+1)
	case err != nil:
	case found:
		f.reports[i].mod, f.reports[i].report = e.mod, o.Report
	default:
		f.reports = slices.Insert(f.reports, i, reported{site: p.site(), mod: e.mod, report: o.Report})
	}
	return err
}

// remove takes out what stood under key.
func (v *View) remove(key string, n *news) {
	p, ok := v.s.keys.parse(key)
	if !ok {
		return
	}
	delete(v.broken, key)
	switch p.folder {
	case inLinks:
		f := v.facts(p.link())
		v.place(p.link(), counted(f.record), link.State{})
		f.record, f.sites = link.Record{}, nil
		v.tidy(p.link(), f)
		n.links[p.link()] = struct{}{}
	case inObservations:
		f := v.facts(p.link())
		if i, found := f.find(p); found {
			f.reports = slices.Delete(f.reports, i, i+1)
		}
		v.tidy(p.link(), f)
		n.links[p.link()] = struct{}{}
	case inAgents:
		v.agents[p.node()] = v.withoutAgent(p)
		if len(v.agents[p.node()]) == 0 {
			delete(v.agents, p.node())
		}
		n.nodes[p.node()] = struct{}{}
	case inCampaigns:
		delete(v.campaigns, p.campaign())
		n.campaigns[p.campaign()] = struct{}{}
	case inDenials:
		v.removeDenial(p)
		n.campaigns[p.campaign()] = struct{}{}
	case inMaintenance, inExclusions:
		v.decided.remove(key)
		n.topology = true
	case inApprovals:
		v.consents.remove(p)
		v.consented(p, n)
	}
}

// tidy forgets a link of which nothing is known any more.
func (v *View) tidy(id keychain.LinkID, f *linkFacts) {
	if f.record.Revision == 0 && len(f.reports) == 0 {
		delete(v.links, id)
	}
}

// counted is the nodes that a record is about: those of its link, and those that
// were left behind, whose coming back concerns it too.
func counted(r link.Record) link.State {
	s := link.State{Upstream: r.State.Upstream, Downstream: r.State.Downstream}
	for _, q := range r.Quarantined {
		s.Downstream = append(slices.Clip(s.Downstream), q.Node)
	}
	return s
}

// place notes that a link is on other nodes than before.
func (v *View) place(id keychain.LinkID, before, now link.State) {
	if slices.Equal(before.Upstream, now.Upstream) && slices.Equal(before.Downstream, now.Downstream) {
		return
	}
	for _, node := range before.Nodes() {
		delete(v.on[node], id)
		if len(v.on[node]) == 0 {
			delete(v.on, node)
		}
	}
	for _, node := range now.Nodes() {
		if v.on[node] == nil {
			v.on[node] = make(map[keychain.LinkID]struct{})
		}
		v.on[node][id] = struct{}{}
	}
}

func (v *View) withoutAgent(p path) []sited {
	return slices.DeleteFunc(slices.Clone(v.agents[p.node()]), func(s sited) bool { return s.site == p.site() })
}

// facts is what is known of a link, made when it is the first.
func (v *View) facts(id keychain.LinkID) *linkFacts {
	f := v.links[id]
	if f == nil {
		f = &linkFacts{}
		v.links[id] = f
	}
	return f
}

func (f *linkFacts) find(p path) (int, bool) {
	return slices.BinarySearchFunc(f.reports, p, func(r reported, p path) int {
		return cmp.Or(cmp.Compare(r.report.Node, p.node()), cmp.Compare(r.site, p.site()))
	})
}

// mend forgets the broken documents of a part that is read anew.
func (v *View) mend(in func(path) bool) {
	for key := range v.broken {
		if p, ok := v.s.keys.parse(key); ok && in(p) {
			delete(v.broken, key)
		}
	}
}

// topologyFollower keeps a view's topology.
type topologyFollower struct{ v *View }

func (f topologyFollower) load(entries []entry, rev int64) {
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	v.declared = make(declared, len(entries))
	v.mend(func(p path) bool { return p.folder == inTopology })
	for _, e := range entries {
		f.put(e)
	}
	v.loads.topology++
	f.done(rev)
}

func (f topologyFollower) watchesOn(stream context.Context) {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	f.v.streams.topology = stream
}

func (f topologyFollower) apply(changes []change, rev int64) {
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(changes) == 0 {
		v.rev.topology = rev
		v.advance()
		return
	}
	for _, c := range changes {
		if c.deleted {
			delete(v.declared, c.key)
			delete(v.broken, c.key)
		} else {
			f.put(c.entry)
		}
	}
	f.done(rev)
}

func (f topologyFollower) put(e entry) {
	delete(f.v.broken, e.key)
	if err := f.v.declared.put(f.v.s.keys, e); err != nil {
		f.v.broken[e.key] = err
	}
}

func (f topologyFollower) done(rev int64) {
	f.v.plain, f.v.topology = nil, nil
	f.v.rev.topology = rev
	f.v.tell(news{topology: true})
}

// tell wakes those whom the news concerns. The view is locked.
func (v *View) tell(n news) {
	v.advance()
	if len(v.subs) == 0 {
		return
	}
	for node := range n.nodes {
		maps.Copy(n.links, v.on[node])
	}
	for s := range v.subs {
		s.mark(n)
	}
}

// advance wakes who waits for a revision.
func (v *View) advance() {
	close(v.moved)
	v.moved = make(chan struct{})
}
