package campaign

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// subject is one link under the checks, with the facts about it.
type subject struct {
	Facts
	declared topology.Link
	left     topology.Link   // without what is excluded
	own      topology.Policy // the link's
	closed   closure
	record   link.Record
	reports  []keychain.Report // of nodes of left, at most one each
	present  []keychain.NodeID
}

// closure is whether and why a policy forbids to rotate now.
type closure struct {
	topology.Closure
	frozen bool
}

// namedCheck is one check of a plan. It looks at one link, and fills in Severity,
// Reason, Remedy, Node and Site of what it finds.
type namedCheck struct {
	name string
	find func(subject) []Finding
}

// checks are those of a plan, in the order in which their findings are told.
func checks() []namedCheck {
	return []namedCheck{
		{"declared-nodes", declaredNodes},
		{"device-cannot-stage", deviceCannotStage},
		{"frozen", frozen},
		{"window-closed", windowClosed},
		{"in-another-campaign", inAnotherCampaign},
		{"epoch-exhausted", epochExhausted},
		{"site-in-maintenance", siteInMaintenance},
		{"agent-absent", agentAbsent},
		{"node-in-trouble", nodeInTrouble},
		{"clock-far-off", clockFarOff},
		{"excluded-node", excludedNode},
		{"quarantined-node", quarantinedNode},
		{"staged-key-left-over", stagedKeyLeftOver},
		{"rotation-left-over", rotationLeftOver},
		{"wire-identifier-wraps", wireIdentifierWraps},
		{"key-age", keyAge},
	}
}

// Checks names the checks of a plan.
func Checks() []string {
	var names []string
	for _, c := range checks() {
		names = append(names, c.name)
	}
	return names
}

// findings runs the checks on one link. closed keeps what is asked once a policy.
func (f Facts) findings(id keychain.LinkID, left topology.Topology, closed map[string]closure) []Finding {
	s := subject{Facts: f}
	s.declared, _ = f.Topology.Link(id)
	s.left, _ = left.Link(id)
	s.own = f.Topology.PolicyOf(s.declared)
	if _, asked := closed[s.own.Name]; !asked {
		freezes := s.own
		freezes.Windows = nil
		closed[s.own.Name] = closure{Closure: s.own.Closed(f.Now), frozen: !freezes.Closed(f.Now).Open()}
	}
	s.closed = closed[s.own.Name]
	s.record, _ = f.Record(id)
	nodes := s.nodes()
	s.present = f.Present(nodes)
	for _, r := range f.Reports(id) {
		if slices.Contains(nodes, r.Node) {
			s.reports = append(s.reports, r)
		}
	}
	var out []Finding
	for _, c := range checks() {
		for _, found := range c.find(s) {
			found.Link, found.Check = id, c.name
			if found.Site == "" && found.Node != "" {
				n, _ := f.Topology.Node(found.Node)
				found.Site = n.Site
			}
			out = append(out, found)
		}
	}
	return out
}

// nodes are those that take part, sorted, each once.
func (s subject) nodes() []keychain.NodeID {
	nodes := slices.Concat(s.left.Upstream, s.left.Downstream)
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// one is a list of one finding.
func one(severity Severity, remedy, format string, a ...any) []Finding {
	return []Finding{{Severity: severity, Reason: fmt.Sprintf(format, a...), Remedy: remedy}}
}

// declaredNodes wants a node on each side that is declared and not excluded.
func declaredNodes(s subject) []Finding {
	for _, side := range []struct {
		name     string
		all, now []keychain.NodeID
	}{{"upstream", s.declared.Upstream, s.left.Upstream}, {"downstream", s.declared.Downstream, s.left.Downstream}} {
		switch {
		case len(side.now) > 0:
		case len(side.all) > 0:
			return one(Refuse, "readmit one of them with keyorch readmit, or declare another node",
				"every %s node is excluded: %s", side.name, listed(side.all))
		default:
			return one(Refuse, "declare one in spec."+side.name, "it has no %s node", side.name)
		}
	}
	var out []Finding
	for _, n := range s.nodes() {
		if _, ok := s.Topology.Node(n); !ok {
			out = append(out, Finding{Severity: Refuse, Node: n, Reason: fmt.Sprintf("node %s is not declared", n), Remedy: "declare it, or take it out of the link"})
		}
	}
	return out
}

// deviceCannotStage wants devices that accept two keys at once.
func deviceCannotStage(s subject) []Finding {
	var out []Finding
	for _, n := range s.nodes() {
		if why := s.CannotStage(n); why != "" {
			out = append(out, Finding{Severity: Refuse, Node: n, Reason: fmt.Sprintf("the device of %s cannot stage: %s", n, why),
				Remedy: "choose a device, or parameters, with which a second key can be installed without being used"})
		}
	}
	return out
}

// frozen and windowClosed keep to the times of the link's policy.
func frozen(s subject) []Finding       { return s.whenClosed(true) }
func windowClosed(s subject) []Finding { return s.whenClosed(false) }

func (s subject) whenClosed(frozen bool) []Finding {
	severity := Refuse
	switch phase := s.record.State.Phase; {
	case s.Kind.Urgent() || s.IgnoreWindows || s.closed.Open() || s.closed.frozen != frozen:
		return nil
	case phase == link.Staging: // it is adopted, and the gate before the switch waits
		severity = Hold
	case phase != link.Steady: // too far along to be kept waiting
		return nil
	}
	const ignore = "keyorch rotate --ignore-windows"
	remedy := "it does not open in the next five weeks: change the policy, or " + ignore
	if !s.closed.Until.IsZero() {
		remedy = fmt.Sprintf("it opens at %s; %s does not wait", stamp(s.closed.Until), ignore)
	}
	return one(severity, remedy, "%s", s.closed.Reason)
}

// inAnotherCampaign leaves a link to the campaign that drives it, but for an
// urgent one, which takes it over.
func inAnotherCampaign(s subject) []Finding {
	last := s.record.Last
	if last.Campaign == "" || last.Campaign == s.Campaign || !last.Ended.IsZero() || !s.Running(last.Campaign) {
		return nil
	}
	if s.Kind.Urgent() {
		return one(Note, "", "campaign %s is rotating it, and loses it to this one", last.Campaign)
	}
	return one(Refuse, fmt.Sprintf("wait for it, or end it with keyorch abort %s", last.Campaign), "campaign %s is rotating it", last.Campaign)
}

// epochExhausted wants an epoch that has never been used.
func epochExhausted(s subject) []Finding {
	if s.record.State.Highest < math.MaxUint64 {
		return nil
	}
	return one(Refuse, "declare the link anew under another name", "its epochs are used up")
}

// wrapsSoon is how many rotations ahead a wrap of the wire numbers is told.
const wrapsSoon = 100

// wireIdentifierWraps tells that the numbers on the wire begin anew soon.
func wireIdentifierWraps(s subject) []Finding {
	serial := s.record.State.To.Serial
	if serial < math.MaxUint32/2 {
		return nil
	}
	for i, next := 1, serial; i <= wrapsSoon; i++ {
		after := next.Next()
		if after < next {
			return one(Note, "nothing: neighbouring keys differ also then; old entries on the gear may look like new ones",
				"its wire identifiers begin anew in %d rotations: the SPI is %d", i, serial.SPI())
		}
		next = after
	}
	return nil
}

// stagedKeyLeftOver tells what becomes of a key that nobody sends with.
func stagedKeyLeftOver(s subject) []Finding {
	st := s.record.State
	if st.Phase != link.Staging || st.Restaging() {
		return nil
	}
	tail, age := s.own.Tail, s.Now.Sub(st.Since).Round(time.Second)
	why := ""
	switch {
	case s.Kind.Urgent():
		why = "an emergency asks for a newer one"
	case s.Kind == Retry:
		why = "a retry asks for a newer one"
	case tail > 0 && age > tail:
		why = fmt.Sprintf("that is longer than the tail of %v", tail)
	default:
		return one(Note, "", "epoch %d has been staged for %v and is kept: the rotation goes on with it", st.To.Epoch, age)
	}
	return one(Note, "", "epoch %d has been staged for %v and is discarded: %s", st.To.Epoch, age, why)
}

// rotationLeftOver tells that a link is past the point of a new key.
func rotationLeftOver(s subject) []Finding {
	st := s.record.State
	if st.Phase == link.Steady || st.Phase == link.Staging && !st.Restaging() {
		return nil
	}
	return one(Note, "", "it is %v: what was begun is finished first", st.Phase)
}

// keyAge tells of keys that are older than their policy wants.
func keyAge(s subject) []Finding {
	made := s.record.Completed.Minted
	if made.IsZero() {
		made = s.record.Completed.Begun
	}
	if made.IsZero() || s.record.State.To.IsZero() {
		return nil
	}
	limit, age := s.own.KeyAge, s.Now.Sub(made)
	switch {
	case limit.Max > 0 && age > limit.Max:
		return one(Note, "", "its key is %s old, more than the %s that its policy allows", days(age), days(limit.Max))
	case limit.Warn > 0 && age > limit.Warn:
		return one(Note, "", "its key is %s old, and its policy warns from %s on", days(age), days(limit.Warn))
	}
	return nil
}
