package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// ruled is a world whose links go by a policy of their own.
func ruled(t *testing.T, p topology.Policy, links ...string) *world {
	w := newWorld(t)
	p.Name = "ruled"
	w.declared.Policies = append(w.declared.Policies, p)
	var ids []keychain.LinkID
	for _, name := range links {
		l := pair(name)
		l.Policy = "ruled"
		w.declare(l)
		ids = append(ids, l.Name)
	}
	w.established(ids...)
	return w
}

// A key that nobody could confirm for longer than the policy gives it is
// discarded, and the link stays on the one that it had.
func TestAStagedKeyGrowsOld(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := ruled(t, topology.Policy{Drain: time.Millisecond, Wait: time.Minute, Tail: time.Hour}, "a")
		w.nodes["a-down2"].dead = true
		r := w.newRun(theCampaign)
		r.env.RegisterDelayedCallback(func() { w.change(alive, "a-down2") }, 2*time.Hour)
		out := r.outcome(workflows.Batch{Campaign: theCampaign, Intent: workflows.ToRotate, Links: []keychain.LinkID{"a"}})
		got := out.Links[0]
		if got.Outcome != link.Aborted || got.Epoch != 1 || !strings.Contains(got.Reason, "staged for 1h") {
			t.Errorf("it ended %+v", got)
		}
	})
}

// Enough nodes are enough when the others have had their time; the one that was
// left behind is no part of the link until it has been staged again.
func TestAQuorumGoesOnWithoutTheMissing(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := ruled(t, topology.Policy{Drain: time.Millisecond, Wait: time.Minute, Tail: time.Hour, Quorum: topology.Amount{Number: 1}}, "a")
		w.nodes["a-down2"].dead = true
		out := w.rotate("a")
		if got := out.Links[0]; got.Outcome != link.Rotated || got.Epoch != 2 || got.Seconds < 30 || got.Seconds > 40 {
			t.Errorf("it ended %+v", got)
		}
		r := w.record("a")
		if len(r.Quarantined) != 1 || r.Quarantined[0].Node != "a-down2" || len(r.State.Downstream) != 1 {
			t.Fatalf("the record is %+v", r)
		}
		w.change(alive, "a-down2")
		out = w.rotate("a")
		r = w.record("a")
		if out.Links[0].Outcome != link.Rotated || len(r.Quarantined) != 0 || len(r.State.Downstream) != 2 || r.State.To.Epoch != 3 {
			t.Errorf("back again it ended %+v with %+v", out.Links[0], r)
		}
	})
}

func TestBeginRespectsWindowsAndMaintenance(t *testing.T) {
	closed := topology.Policy{Drain: time.Millisecond, Wait: time.Minute, Freezes: []topology.Freeze{{From: "1999-12-01", To: "2000-02-01", Reason: "new year"}}}
	for _, c := range []struct {
		name    string
		p       topology.Policy
		request func(*workflows.BeginRequest)
		denied  string
	}{
		{"frozen", closed, nil, "new year"},
		{"frozen and ignored", closed, func(q *workflows.BeginRequest) { q.IgnoreWindows = true }, ""},
		{"frozen in an emergency", closed, func(q *workflows.BeginRequest) { q.Urgent = true }, ""},
		{"in maintenance", topology.DefaultPolicy(), nil, "fibre work"},
		{"in maintenance and an emergency", topology.DefaultPolicy(), func(q *workflows.BeginRequest) { q.Urgent = true }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := ruled(t, c.p, "a")
				if strings.Contains(c.name, "maintenance") {
					w.standing.Maintenance = []topology.Maintenance{{Site: "site-a-down1", Until: time.Now().Add(time.Hour), Reason: "fibre work"}}
				}
				_, _ = store{w}.PutCampaign(t.Context(), campaign.Record{Name: theCampaign, State: campaign.Running})
				q := workflows.BeginRequest{Owner: theCampaign, Campaign: theCampaign, Intent: workflows.ToRotate, Links: []keychain.LinkID{"a"}}
				if c.request != nil {
					c.request(&q)
				}
				begun, err := call(t, w.activities().Begin, q)
				if err != nil {
					t.Fatal(err)
				}
				if got := begun[0].Denied; (got == "") != (c.denied == "") || !strings.Contains(got, c.denied) {
					t.Errorf("it answers %+v", begun[0])
				}
				if noted := (view{w}).Denials(theCampaign); (len(noted) == 1 && noted[0].Skips()) != (c.denied != "") {
					t.Errorf("it notes %+v", noted)
				}
			})
		})
	}
}

// In an emergency a link is taken from whoever rotates it, and goes on to a key
// that is made after it, whatever phase it is in.
func TestAnEmergencyAsksForANewerKey(t *testing.T) {
	for _, p := range []link.Phase{link.Staging, link.Switching, link.Draining, link.Retiring} {
		t.Run(p.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.leftIn("a", p)
				w.locked(func() { w.running["dead-1"] = true })
				out := w.newRun(theCampaign).outcome(workflows.Batch{
					Campaign: theCampaign, Intent: workflows.ToRotate, Links: []keychain.LinkID{"a"}, Urgent: true,
				})
				if got := out.Links[0]; got.Outcome != link.Rotated || got.Epoch != 3 {
					t.Errorf("it ended %+v", got)
				}
			})
		})
	}
}

// Whoever does not care for windows still wants the old key to drain, and a key that
// nobody could use to grow old.
func TestOnlyAnEmergencyDrainsBriefly(t *testing.T) {
	for name, c := range map[string]struct {
		in       workflows.Batch
		min, max float64
	}{
		"windows ignored": {workflows.Batch{IgnoreWindows: true}, 600, 610},
		"an emergency":    {workflows.Batch{Urgent: true}, 5, 15},
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := ruled(t, topology.Policy{Drain: 10 * time.Minute, Wait: time.Minute, Tail: time.Hour}, "a")
				in := c.in
				in.Campaign, in.Intent, in.Links = theCampaign, workflows.ToRotate, []keychain.LinkID{"a"}
				got := w.newRun(theCampaign).outcome(in).Links[0]
				if got.Outcome != link.Rotated || got.Seconds < c.min || got.Seconds > c.max {
					t.Errorf("it ended %+v", got)
				}
			})
		})
	}
}
