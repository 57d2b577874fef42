package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// fleet compares what is declared with who is enrolled and who is there. An agent may
// not see that.
func (p Patient) fleet(ctx context.Context, s *store.Store, me person) []Finding {
	a := about{subject: Fleet}
	if me.known && me.Role == identity.Agent {
		a.skip("agents", "an agent sees no other")
		return a.found
	}
	p.within(ctx, func(ctx context.Context) {
		f, err := survey(ctx, s)
		if err != nil {
			a.failed("agents", err)
			return
		}
		f.judge(&a, p.Version)
	})
	p.within(ctx, func(ctx context.Context) {
		head, err := s.Trail().Head(ctx)
		if err != nil {
			a.failed("audit trail", err)
			return
		}
		judgeTrail(&a, head, p.Now())
	})
	return a.found
}

// facts are what is known of a fleet.
type facts struct {
	topology topology.Topology
	enrolled []store.Enrolment
	agents   map[keychain.NodeID]store.Agent
	broken   []error
}

func survey(ctx context.Context, s *store.Store) (facts, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v, err := s.View(ctx)
	if err != nil {
		return facts{}, err
	}
	f := facts{topology: v.Topology(), broken: v.Broken(), agents: make(map[keychain.NodeID]store.Agent)}
	for _, n := range f.topology.Nodes {
		if agent, ok := v.Agent(n.Name); ok {
			f.agents[n.Name] = agent
		}
	}
	f.enrolled, err = s.Enrolments(ctx)
	return f, err
}

// judge says which sites nobody serves, and why.
func (f facts) judge(a *about, version string) {
	for _, err := range f.broken {
		what, mend := words(err)
		a.fail("documents", what, mend)
	}
	var strangers, absent, revoked []string
	versions := map[string]int{}
	for _, n := range f.topology.Nodes {
		at := fmt.Sprintf("%s of %s", n.Name, n.Site)
		agent, there := f.agents[n.Name]
		if there && agent.Version != "" {
			versions[agent.Version]++
		}
		switch who, known := f.who(n); {
		case !known:
			strangers = append(strangers, at)
		case !who.RevokedAt.IsZero() && there:
			revoked = append(revoked, at)
		case who.RevokedAt.IsZero() && !there:
			absent = append(absent, at)
		}
	}
	if len(strangers) > 0 {
		a.warn("enrolled", "nobody is enrolled for "+few(strangers), "have the administrator run keyorch enroll for its site, unless its certificates come from elsewhere")
	}
	if len(revoked) > 0 {
		a.fail("revoked", "an agent that was revoked still serves "+few(revoked), "run keyorch revoke again, and stop that agent")
	}
	if len(absent) > 0 {
		a.warn("agents", fmt.Sprintf("no agent serves %s: its lease ended, or it was never started", few(absent)), "start keyorch agent there, or look at its log and run keyorch doctor beside it")
	}
	if n := len(f.topology.Nodes); len(strangers)+len(absent)+len(revoked) == 0 {
		a.ok("agents", fmt.Sprintf("%d nodes are declared, and each is served by an agent that is enrolled", n))
	}
	judgeVersions(a, versions, version)
}

// who is enrolled for a node: for the node itself, or else for its site.
func (f facts) who(n topology.Node) (store.Enrolment, bool) {
	var found store.Enrolment
	ok := false
	for _, e := range f.enrolled {
		i := e.Identity
		if i.Role == identity.Agent && i.Site == n.Site && (i.Node == "" && !ok || i.Node == n.Name) {
			found, ok = e, true
		}
	}
	return found, ok
}

func judgeVersions(a *about, versions map[string]int, mine string) {
	if len(versions) == 0 {
		return
	}
	var all []string
	for v, n := range versions {
		all = append(all, fmt.Sprintf("%s (%d)", v, n))
	}
	slices.SortFunc(all, func(x, y string) int { return cmp.Compare(x, y) })
	if len(versions) > 1 || versions[mine] == 0 {
		a.warn("versions", fmt.Sprintf("agents are of versions %s, and this is %s", few(all), mine), "bring them to one version: first the worker, then the agents")
		return
	}
	a.ok("versions", "all agents are of version "+mine)
}

// wanted names the KEKs that somebody needs: an agent those of its orders, anybody else
// those of all that is declared.
func (p Patient) wanted(ctx context.Context, me person) ([]string, error) {
	s, err := store.Open(ctx, p.Etcd)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	if me.Role == identity.Agent {
		return s.WrappedFor(ctx, me.Site, me.Node)
	}
	t, err := s.Topology(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range t.Links {
		names = append(names, custody.KEK(l.Name, t.SitesOf(slices.Concat(l.Upstream, l.Downstream))))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
