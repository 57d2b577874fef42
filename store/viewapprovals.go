package store

import (
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/topology"
)

// consents is what a view knows of approvals.
type consents struct {
	rules    approval.InForce // without a Revision: none are pinned
	policies topology.Pinned
	pinned   int64                                // the revision of policies; zero: none are pinned
	requests map[string]map[string]approval.Asked // by ID, and who wrote it
	votes    map[string]map[string]approval.Vote  // likewise
	ends     map[string]approval.End
}

func noConsents() consents {
	return consents{
		requests: make(map[string]map[string]approval.Asked), votes: make(map[string]map[string]approval.Vote), ends: make(map[string]approval.End),
	}
}

// put takes in one document in place of the one that stood there. Rules that cannot be
// read stop what may need approvals; policies, requests and votes count as not there.
func (c *consents) put(s *Store, p path, e entry) error {
	c.remove(p)
	switch p.names[0] {
	case ofRules:
		f, err := s.rules(e)
		c.rules = f
		return err
	case ofPolicies:
		pinned, err := s.policies(e)
		c.policies, c.pinned = pinned, e.mod
		return err
	case ofEnds:
		end, err := s.ended(e)
		if err == nil {
			c.ends[end.ID] = end
		}
		return err
	case ofRequests:
		a, err := s.request(e)
		if err == nil {
			put2(c.requests, a.Request.ID(), a.By, a)
		}
		return err
	case ofVotes:
		v, err := s.vote(e)
		if err == nil {
			put2(c.votes, p.names[2], v.By, v)
		}
		return err
	}
	return nil
}

func put2[V any](m map[string]map[string]V, id, cn string, v V) {
	if m[id] == nil {
		m[id] = make(map[string]V)
	}
	m[id][cn] = v
}

func (c *consents) remove(p path) {
	switch p.names[0] {
	case ofRules:
		c.rules = approval.InForce{}
	case ofPolicies:
		c.policies, c.pinned = topology.Pinned{}, 0
	case ofEnds:
		delete(c.ends, p.names[1])
	case ofRequests:
		delete(c.requests[p.names[2]], p.names[1])
	case ofVotes:
		delete(c.votes[p.names[2]], p.names[1])
	}
}

// asked is a request with all that belongs to it. It cannot be that two people have
// written one, since who asks is part of what the ID follows from.
func (c *consents) asked(id string) (approval.Asked, bool) {
	writers := slices.Sorted(maps.Keys(c.requests[id]))
	if len(writers) == 0 {
		return approval.Asked{}, false
	}
	a := c.requests[id][writers[0]]
	for _, by := range slices.Sorted(maps.Keys(c.votes[id])) {
		a.Votes = append(a.Votes, c.votes[id][by])
	}
	if end, ok := c.ends[id]; ok {
		a.Ended = &end
	}
	return a, true
}

// consented is that approvals have changed: those of policies are part of the topology.
func (v *View) consented(p path, n *news) {
	if p.names[0] == ofPolicies {
		v.topology = nil
	}
	n.topology = true
}

// Declared is what is declared, as it was declared. It costs nothing until something is
// applied.
func (v *View) Declared() topology.Topology {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.plainTopology()
}

// plainTopology is Declared while the view is locked.
func (v *View) plainTopology() topology.Topology {
	if v.plain == nil {
		made := v.declared.topology()
		v.plain = &made
	}
	return *v.plain
}

// Rules are the rules of approvals in force: those that a worker has pinned, or as long
// as none has, those that are declared.
func (v *View) Rules() approval.InForce {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.consents.rules
	if f.Revision != 0 || f.Broken {
		return f
	}
	for _, r := range v.declaredTopology().ApprovalRules {
		f.Rules = append(f.Rules, r.Rule)
	}
	return f
}

// Policies are the policies in force, and their revision; zero: no rule has pinned them.
func (v *View) Policies() (topology.Pinned, int64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.consents.policies, v.consents.pinned
}

// Asked is a request for approvals, with its votes and its end; false when there is
// none that can be read.
func (v *View) Asked(id string) (approval.Asked, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.consents.asked(id)
}

// AllAsked are all requests that are kept, the newest last.
func (v *View) AllAsked() []approval.Asked {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.consents.all()
}

// EndsOver are the requests whose end need not be remembered: they are over, and who asked has
// forgotten them. As long as a request is there, its end says what became of it.
func (v *View) EndsOver(now time.Time) []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var ids []string
	for id := range v.consents.ends {
		if len(v.consents.requests[id]) == 0 && approval.Over(id, now) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (c *consents) all() []approval.Asked {
	var all []approval.Asked
	for _, id := range slices.Sorted(maps.Keys(c.requests)) {
		if a, ok := c.asked(id); ok {
			all = append(all, a)
		}
	}
	return all
}
