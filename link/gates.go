package link

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Snapshot is what the gates look at: facts that were gathered once, by somebody
// else, just before the step. Reports has at most one report a node, the latest.
type Snapshot struct {
	State   State
	Reports []keychain.Report
	// Present lists the nodes that an agent serves now.
	Present []keychain.NodeID
	Now     time.Time
	// Drain is the least time between the last upstream confirmation and the
	// moment when the old key is forgotten.
	Drain time.Duration
	// Quiet is how long the packet counters of the old key must have stood still as
	// well, on every downstream device that counts; zero asks for no counters. A
	// device is read from time to time only, so a Quiet shorter than that says
	// little.
	Quiet time.Duration
	// Quieted is since when those counters have stood still, as whoever made the
	// snapshot has seen it with its own eyes.
	Quieted []Quieted
	// Closed is why the link may not be rotated now, and ClosedUntil when it may
	// again (zero: nobody knows). Empty: the window is open, or the rotation is too
	// urgent to ask.
	Closed      string
	ClosedUntil time.Time
	// KeySince is when the key in use was made, WarnAge and MaxAge are how old it
	// may become before Explain warns and before it complains; zero asks for
	// neither.
	KeySince        time.Time
	WarnAge, MaxAge time.Duration
	// Quarantined are the nodes that the link was rotated without (see Quorum), and
	// Maintained says in which maintenance it is, one text each, as in "site dc2
	// until 04:00: fibre work". Both are for Explain alone.
	Quarantined []Quarantine
	Maintained  []string
}

// Quieted is since when the counter of a key has stood still on one downstream
// node.
type Quieted struct {
	Node    keychain.NodeID `json:"node"`
	Epoch   keychain.Epoch  `json:"epoch"`
	Packets uint64          `json:"packets"`
	Since   time.Time       `json:"since"`
}

// Report is the latest report of n; false when it never reported.
func (s Snapshot) Report(n keychain.NodeID) (keychain.Report, bool) {
	i := slices.IndexFunc(s.Reports, func(r keychain.Report) bool { return r.Node == n })
	if i < 0 {
		return keychain.Report{}, false
	}
	return s.Reports[i], true
}

// Refusal is a gate that says not now. The zero Refusal lets the step happen.
type Refusal struct {
	Gate   string          `json:"gate"`
	Reason string          `json:"reason"`
	Node   keychain.NodeID `json:"node,omitempty"` // whom it is about, if one node
	// Until is when this gate may look different with nobody doing anything; zero
	// if that depends on a node.
	Until time.Time `json:"until,omitzero"`
}

// OK reports that nothing was refused.
func (r Refusal) OK() bool { return r.Gate == "" }

// Gate is one named check on a snapshot.
type Gate func(Snapshot) Refusal

// switchGates stand between Staging and Switching, drainGates between Draining
// and Retiring. The first refusal wins: what somebody must see to comes before
// what only takes time.
func switchGates() []Gate {
	return []Gate{newestRecord, agentsPresent, downstreamReadBack, insideWindow}
}
func drainGates() []Gate { return []Gate{newestRecord, drainTime, upstreamReadBack, drainQuiet} }

// Check runs the gates before the next step of s, if it stands before one: when
// all nodes have confirmed in Staging, and in Draining. It gives the event that
// the gates let happen, or nil and the refusal of the first gate that does not.
func Check(s Snapshot) (Event, Refusal) {
	var gates []Gate
	var next Event
	switch {
	case s.State.Phase == Staging && len(s.State.Awaiting) == 0:
		gates, next = switchGates(), Cleared{Turn: s.State.Turn, At: s.Now}
	case s.State.Phase == Draining:
		gates, next = drainGates(), Drained{Turn: s.State.Turn, At: s.Now}
	default:
		return nil, Refusal{}
	}
	for _, gate := range gates {
		if r := gate(s); !r.OK() {
			return nil, r
		}
	}
	return next, Refusal{}
}

// newestRecord wants no node to be ahead of the record: of what such a node knows,
// an old copy of etcd knows nothing.
func newestRecord(s Snapshot) Refusal {
	if n, why := s.State.Behind(s.Reports); why != "" {
		return Refusal{Gate: "newest-record", Node: n, Reason: why}
	}
	return Refusal{}
}

// Behind says why s is older than what its nodes report, and which node shows it;
// empty when none does. The reports must not be newer than s, as for Drift. The
// node need not be one that s names: what was declared may be older, too.
func (s State) Behind(reports []keychain.Report) (keychain.NodeID, string) {
	for _, r := range reports {
		highest := r.Sends.Epoch
		for _, a := range r.Accepts {
			highest = max(highest, a.Epoch)
		}
		switch {
		case r.Turn > s.Turn:
			return r.Node, fmt.Sprintf("the record is older than what %s reports, which has obeyed turn %d: the record is at turn %d: "+
				"etcd was put back or emptied: keyorch recover", r.Node, r.Turn, s.Turn)
		case highest > s.Highest:
			return r.Node, fmt.Sprintf("the record is older than what %s reports, which has epoch %d: the highest of the record is %d: "+
				"etcd was put back or emptied: keyorch recover", r.Node, highest, s.Highest)
		}
	}
	return "", ""
}

// agentsPresent wants every node of the link served before anyone switches: a
// link that is half switched is safe, but a link that has not begun is simpler.
func agentsPresent(s Snapshot) Refusal {
	for _, n := range s.State.Nodes() {
		if !slices.Contains(s.Present, n) {
			return Refusal{Gate: "agents-present", Node: n, Reason: fmt.Sprintf("no agent serves %s", n)}
		}
	}
	return Refusal{}
}

// downstreamReadBack wants every downstream node to accept both keys still, with
// the right KCV: a node that restarted may have lost a key that it confirmed.
func downstreamReadBack(s Snapshot) Refusal {
	const gate = "downstream-reads-back"
	for _, n := range s.State.Downstream {
		r, ok := s.Report(n)
		for _, k := range []Key{s.State.From, s.State.To} {
			got := r.Accepted(k.Epoch)
			if k.IsZero() || ok && k.Bare && got.IsZero() {
				continue
			}
			if !ok || got.KCV == "" || !got.Agrees(k.Ref) {
				return Refusal{Gate: gate, Node: n, Reason: fmt.Sprintf("%s no longer accepts epoch %v", n, k.Ref)}
			}
		}
	}
	return Refusal{}
}

// insideWindow keeps upstream on the old key until the link may be rotated. It
// holds nothing else: what has begun to switch ends, what goes back goes back at
// once, and staging the key in use again changes no sender.
func insideWindow(s Snapshot) Refusal {
	if !s.closed() {
		return Refusal{}
	}
	return Refusal{Gate: "inside-window", Reason: s.Closed, Until: s.ClosedUntil}
}

func (s Snapshot) closed() bool {
	return s.Closed != "" && s.State.Phase == Staging && !s.State.Reverting && !s.State.Restaging()
}

// drainTime waits for the policy's drain time.
func drainTime(s Snapshot) Refusal {
	until := s.State.Since.Add(s.Drain)
	if s.Now.Before(until) {
		return Refusal{Gate: "drain-time", Until: until, Reason: fmt.Sprintf(
			"packets keyed with epoch %d may be in flight for %v", s.State.From.Epoch, s.Drain)}
	}
	return Refusal{}
}

// upstreamReadBack wants every upstream node to send with To still, or nothing:
// a device that went back by itself, say to a saved configuration, would send
// with a key that is about to be forgotten.
func upstreamReadBack(s Snapshot) Refusal {
	for _, n := range s.State.Upstream {
		r, ok := s.Report(n)
		if !ok || r.Sends.Epoch != s.State.To.Epoch && !r.Sends.IsZero() {
			return Refusal{Gate: "upstream-reads-back", Node: n, Reason: strings.TrimSpace(fmt.Sprintf(
				"%s sends with epoch %v, not with %v", n, r.Sends, s.State.To.Ref))}
		}
	}
	return Refusal{}
}

// drainQuiet wants the counter of the old key to have stood still for Quiet on
// every downstream node that counts. Of those that do not it asks nothing.
func drainQuiet(s Snapshot) Refusal {
	if s.Quiet <= 0 {
		return Refusal{}
	}
	var last Refusal
	for _, n := range s.State.Downstream {
		r := s.quiet(n)
		switch {
		case r.OK():
		case r.Until.IsZero():
			return r
		case last.OK() || r.Until.After(last.Until):
			last = r
		}
	}
	return last
}

// quiet is what node n has against forgetting the old key. A counter that nobody
// reads stands still as well, so it proves nothing without an agent that reads
// it, and did so in this Turn.
func (s Snapshot) quiet(n keychain.NodeID) Refusal {
	from := s.State.From.Epoch
	r, _ := s.Report(n)
	counter := slices.IndexFunc(r.Counters, func(c keychain.Counter) bool { return c.Epoch == from })
	watched := slices.IndexFunc(s.Quieted, func(q Quieted) bool { return q.Node == n && q.Epoch == from })
	refuse := func(until time.Time, format string, a ...any) Refusal {
		return Refusal{Gate: "drain-quiet", Node: n, Until: until, Reason: fmt.Sprintf(format, a...)}
	}
	switch {
	case counter < 0 && watched < 0:
		return Refusal{}
	case !slices.Contains(s.Present, n):
		return refuse(time.Time{}, "no agent reads the packet counters of %s", n)
	case r.Fault != "" && r.Message != "":
		return refuse(time.Time{}, "%s may not have read its packet counters: %s", n, r.Message)
	case r.Fault != "" || r.Turn != s.State.Asked(r.Node):
		return refuse(time.Time{}, "%s has not read its packet counters since upstream switched", n)
	case watched < 0:
		return refuse(s.Now.Add(s.Quiet), "packets under epoch %d that %s counts have not been watched for %v yet", from, n, s.Quiet)
	}
	since := s.Quieted[watched].Since
	if counter >= 0 && r.Counters[counter].Packets != s.Quieted[watched].Packets {
		since = s.Now // it has moved since
	}
	if until := since.Add(s.Quiet); s.Now.Before(until) {
		ago := max(0, s.Now.Sub(since)).Round(time.Second)
		return refuse(until, "packets under epoch %d still arrive at %s (the last %v ago)", from, n, ago)
	}
	return Refusal{}
}
