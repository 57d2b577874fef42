package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// fleetOfSix is three sites with a link in each direction between any two of them,
// and a fourth with one link of its own, "last". Two are odd: "slow" drains for long,
// and "brief" keeps a staged key for three seconds only. Policies: "waves" begins with the
// link labelled as the canary, and then waits an hour. "back" does not wait, has
// "last" in a wave of its own, and takes everything back at the first failure.
// "quick" is one wave. Links wait three seconds to be confirmed in all but the
// last.
const fleetOfSix = `
apiVersion: keyorch/v1
kind: Policy
metadata: {name: waves}
spec:
  drain: 200ms
  wait: 3s
  waves: [{name: canary, selector: tier=canary, soak: 1h}, {name: rest}]
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: back}
spec:
  drain: 200ms
  wait: 3s
  waves: [{name: most, selector: tier!=last}, {name: last}]
  budget: {campaign: 0, wave: 0, onSpent: abort}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: quick}
spec: {drain: 200ms, wait: 1m, waves: [{name: all}]}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: thirds}
spec: {drain: 200ms, wait: 1m, waves: [{name: one, links: 2}, {name: two, links: 4}, {name: three}]}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: short}
spec: {drain: 200ms, wait: 3s, tail: 3s}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: lastfirst}
spec: {drain: 200ms, wait: 3s, waves: [{selector: tier=last}, {}]}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: slowly}
spec: {drain: 10s, wait: 1m}
`

// campaignWorld is fleetOfSix on its first keys, with traffic.
func campaignWorld(t *testing.T) *world {
	w := newWorld(t)
	var b strings.Builder
	b.WriteString(fleetOfSix)
	for i := 1; i <= 4; i++ {
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc%d}\n", i)
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Node\nmetadata: {name: n%d}\nspec: {site: dc%d, device: {kind: sim, network: \"$SIM\"}}\n", i, i)
	}
	for _, l := range []struct{ name, tier, policy, up, down string }{
		{"a", "canary", "quick", "n1", "n3"}, {"b", "core", "quick", "n1", "n2"}, {"c", "core", "quick", "n2", "n1"},
		{"d", "core", "quick", "n2", "n3"}, {"e", "core", "quick", "n3", "n1"}, {"f", "core", "quick", "n3", "n2"},
		{"last", "last", "quick", "n1", "n4"}, {"slow", "odd", "slowly", "n1", "n2"}, {"brief", "odd", "short", "n2", "n3"},
	} {
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Link\nmetadata: {name: %s, labels: {tier: %s}}\nspec: {upstream: [%s], downstream: [%s], policy: %s}\n",
			l.name, l.tier, l.up, l.down, l.policy)
	}
	w.declare(b.String())
	w.staff()
	w.rotate(0, "--all", "--policy", "quick") // first keys need no draining
	w.traffic()
	return w
}

// epochs is what every link sends with.
func (w *world) epochs() map[keychain.LinkID]keychain.Epoch {
	sends := map[keychain.LinkID]keychain.Epoch{}
	for _, r := range w.view.Records() {
		sends[r.Link] = r.State.Sends().Epoch
	}
	return sends
}

// used is the highest epoch of every link, which was burned if it was aborted.
func (w *world) used() map[keychain.LinkID]keychain.Epoch {
	highest := map[keychain.LinkID]keychain.Epoch{}
	for _, r := range w.view.Records() {
		highest[r.Link] = r.State.Highest
	}
	return highest
}

// raised is from with the epochs of links raised by n.
func raised(from map[keychain.LinkID]keychain.Epoch, n keychain.Epoch, ids ...keychain.LinkID) map[keychain.LinkID]keychain.Epoch {
	to := maps.Clone(from)
	for _, id := range ids {
		to[id] += n
	}
	return to
}

// rest is every link but one, and the odd ones.
func (w *world) rest(but keychain.LinkID) (ids []keychain.LinkID) {
	for _, l := range w.topo.Links {
		if l.Name != but && l.Labels["tier"] != "odd" {
			ids = append(ids, l.Name)
		}
	}
	return ids
}

// on waits until every link is at rest, and wants those named, or all, on these
// epochs.
func (w *world) on(want map[keychain.LinkID]keychain.Epoch, ids ...keychain.LinkID) {
	w.t.Helper()
	w.sound()
	got := w.epochs()
	for id := range want {
		if got[id] != want[id] && (len(ids) == 0 || slices.Contains(ids, id)) {
			w.t.Errorf("%s is on epoch %d, want %d\n%s", id, got[id], want[id], w.standing())
		}
	}
}

// sound waits until every link is Steady and nobody's, and wants it on one
// confirmed key: its senders send with To, its receivers accept To and nothing
// else, by their own reports; no packet was lost, and no epoch was used twice.
func (w *world) sound() {
	w.t.Helper()
	w.until("every link is at rest", func() bool {
		return !slices.ContainsFunc(w.topo.Links, func(l topology.Link) bool {
			r := w.record(l.Name)
			return r.State.Phase != link.Steady || r.Owner != "" || r.State.To.KCV == ""
		})
	})
	st, err := w.Lab.Store(w.t.Context())
	must(w.t, err)
	defer func() { _ = st.Close() }()
	for _, l := range w.topo.Links {
		past, err := st.History(w.t.Context(), l.Name)
		must(w.t, err)
		for _, wrong := range append(disagreeing(l, w.record(l.Name).State, w.view.Reports(l.Name)), reused(past)...) {
			w.t.Errorf("%s: %s", l.Name, wrong)
		}
	}
	w.noLoss()
}

// disagreeing is which nodes of a link at rest have anything but its key.
func disagreeing(l topology.Link, s link.State, reports []keychain.Report) (wrong []string) {
	said := map[keychain.NodeID]bool{}
	for _, r := range reports {
		said[r.Node] = true
		sends, accepts := slices.Contains(l.Upstream, r.Node), slices.Contains(l.Downstream, r.Node)
		if sends && r.Sends != s.To.Ref || accepts && !slices.Equal(r.Accepts, []keychain.Ref{s.To.Ref}) {
			wrong = append(wrong, fmt.Sprintf("%s sends %v and accepts %v, and the link is on %v", r.Node, r.Sends, r.Accepts, s.To.Ref))
		}
	}
	for _, n := range slices.Concat(l.Upstream, l.Downstream) {
		if !said[n] {
			wrong = append(wrong, fmt.Sprintf("%s says nothing", n))
		}
	}
	return wrong
}

// reused is the epochs in the past of a link that were staged twice or out of order,
// or that had two keys.
func reused(past []link.Entry) (wrong []string) {
	var last keychain.Epoch
	keys := map[keychain.Epoch]keychain.KCV{}
	for _, e := range past {
		for _, k := range []keychain.Ref{e.From, e.To} {
			if known := keys[k.Epoch]; k.KCV != "" && known != "" && known != k.KCV {
				wrong = append(wrong, fmt.Sprintf("epoch %d has the keys %s and %s", k.Epoch, known, k.KCV))
			}
			if k.KCV != "" {
				keys[k.Epoch] = k.KCV
			}
		}
		if e.Phase == link.Staging && e.From.Epoch != e.To.Epoch {
			if e.To.Epoch <= last {
				wrong = append(wrong, fmt.Sprintf("epoch %d was staged after epoch %d", e.To.Epoch, last))
			}
			last = e.To.Epoch
		}
	}
	return wrong
}

// TestCampaignChecksHaveTeeth plants what sound must see.
func TestCampaignChecksHaveTeeth(t *testing.T) {
	ref := func(e keychain.Epoch, k keychain.KCV) keychain.Ref { return keychain.Ref{Epoch: e, KCV: k} }
	l := topology.Link{Upstream: []keychain.NodeID{"u"}, Downstream: []keychain.NodeID{"d"}}
	s := link.State{To: link.Key{Ref: ref(2, "aa")}}
	good := func(change func(u, d *keychain.Report)) []keychain.Report {
		u, d := keychain.Report{Node: "u", Sends: ref(2, "aa")}, keychain.Report{Node: "d", Accepts: []keychain.Ref{ref(2, "aa")}}
		change(&u, &d)
		return []keychain.Report{u, d}
	}
	if wrong := disagreeing(l, s, good(func(_, _ *keychain.Report) {})); len(wrong) > 0 {
		t.Error(wrong)
	}
	for name, reports := range map[string][]keychain.Report{
		"another epoch is sent":   good(func(u, _ *keychain.Report) { u.Sends = ref(1, "bb") }),
		"another key is sent":     good(func(u, _ *keychain.Report) { u.Sends.KCV = "bb" }),
		"the old one is accepted": good(func(_, d *keychain.Report) { d.Accepts = []keychain.Ref{ref(1, "bb"), ref(2, "aa")} }),
		"nothing is accepted":     good(func(_, d *keychain.Report) { d.Accepts = nil }),
		"a receiver says nothing": good(func(_, d *keychain.Report) { d.Node = "x" }),
	} {
		if len(disagreeing(l, s, reports)) == 0 {
			t.Errorf("%s, and nobody noticed", name)
		}
	}
	stage := func(from, to keychain.Ref) link.Entry { return link.Entry{Phase: link.Staging, From: from, To: to} }
	if wrong := reused([]link.Entry{stage(ref(1, "aa"), ref(2, "")), stage(ref(2, "bb"), ref(3, ""))}); len(wrong) > 0 {
		t.Error(wrong)
	}
	for name, past := range map[string][]link.Entry{
		"an epoch is staged twice":  {stage(ref(1, "aa"), ref(2, "")), stage(ref(1, "aa"), ref(2, ""))},
		"an epoch has two keys":     {stage(ref(1, "aa"), ref(2, "")), stage(ref(1, "bb"), ref(3, ""))},
		"an epoch comes back later": {stage(ref(1, "aa"), ref(3, "")), stage(ref(3, "cc"), ref(2, ""))},
	} {
		if len(reused(past)) == 0 {
			t.Errorf("%s, and nobody noticed", name)
		}
	}
}

// newest waits for a campaign that is newer than those known, and gives it.
func (w *world) newest(known []campaign.Record) campaign.Record {
	w.t.Helper()
	var found campaign.Record
	w.until("a campaign has begun", func() bool {
		for _, c := range w.view.Campaigns() {
			if !slices.ContainsFunc(known, func(k campaign.Record) bool { return k.Name == c.Name }) {
				found = c
				return true
			}
		}
		return false
	})
	return found
}

// campaigning begins a campaign beside the test, and gives its name.
func (w *world) campaigning(args ...string) (name string, ended func(code int)) {
	w.t.Helper()
	known := w.view.Campaigns()
	ended = w.rotating(args...)
	return w.newest(known).Name, ended
}

func (w *world) campaign(name string) campaign.Record {
	c, _ := w.view.Campaign(name)
	return c
}

// is waits until a campaign is in a state, and gives its record.
func (w *world) is(name string, s campaign.State) campaign.Record {
	w.t.Helper()
	w.until(fmt.Sprintf("campaign %s is %s", name, s), func() bool { return w.campaign(name).State == s })
	return w.campaign(name)
}

// waves is which links a campaign has in each of its waves.
func (w *world) waves(name string) (out []string) {
	w.t.Helper()
	s, err := w.Lab.Store(w.t.Context())
	must(w.t, err)
	defer func() { _ = s.Close() }()
	for _, x := range w.campaign(name).Waves {
		batches, err := s.Batches(w.t.Context(), name, x.First, x.Count)
		must(w.t, err)
		var ids []keychain.LinkID
		for _, b := range batches {
			ids = append(ids, b.Links...)
		}
		slices.Sort(ids)
		out = append(out, fmt.Sprint(x.Name, ids))
	}
	return out
}

// plan is the waves that plan shows.
func (w *world) plan(args ...string) (out []string) {
	w.t.Helper()
	var p campaign.Plan
	must(w.t, json.Unmarshal([]byte(w.keyorch(0, append([]string{"plan", "-o", "json"}, args...)...).Out), &p))
	for _, x := range p.Waves {
		slices.Sort(x.Links)
		out = append(out, fmt.Sprint(x.Name, x.Links))
	}
	return out
}

// dead lets the management of nodes answer nothing, or makes them answer again.
func (w *world) dead(on bool, nodes ...keychain.NodeID) {
	for _, n := range nodes {
		w.Lab.Network.Node(n).Dead(on)
	}
}

// runs reports whether a workflow has not ended.
func (w *world) runs(id string) bool {
	w.t.Helper()
	c, err := wiring.DialTemporal(w.t.Context(), w.Lab.Stack.TemporalAddress, w.Lab.Stack.TemporalNamespace, w.Lab.Logger)
	must(w.t, err)
	defer c.Close()
	running, err := wiring.Campaigns{Client: c}.Running(w.t.Context(), id)
	must(w.t, err)
	return running
}

// restartWorker kills the worker and starts another.
func (w *world) restartWorker() {
	w.t.Helper()
	w.worker.Kill()
	w.startWorker()
}

// after waits until a time has come.
func (w *world) after(when time.Time) {
	w.t.Helper()
	time.Sleep(time.Until(when)) // the condition is the clock itself
}
