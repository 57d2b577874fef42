package storetest

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

func maintenance(site string) topology.Maintenance {
	return topology.Maintenance{Site: keychain.SiteID(site), Since: epochZero, Until: epochZero.Add(time.Hour), Reason: "new racks"}
}

func exclusion(node, site string) topology.Exclusion {
	return topology.Exclusion{
		Node: keychain.NodeID(node), Site: keychain.SiteID(site), Since: epochZero, Reason: "stolen",
		Exposed: []topology.Exposed{{Link: "ab", Epoch: 4}},
	}
}

func testStanding(t *testing.T, e *env) {
	s := e.open()
	expect := func(want topology.Standing) {
		t.Helper()
		got, err := s.Standing(e.ctx)
		must(t, err)
		if !slices.Equal(got.Maintenance, want.Maintenance) || len(got.Exclusions) != len(want.Exclusions) ||
			len(want.Exclusions) > 0 && !reflect.DeepEqual(got.Exclusions, want.Exclusions) {
			t.Fatalf("standing is\n%+v, want\n%+v", got, want)
		}
	}
	expect(topology.Standing{})
	wantKind(t, s.EndMaintenance(e.ctx, "x"), fault.Refused)
	wantKind(t, s.Readmit(e.ctx, exclusion("a", "")), fault.Refused)

	longer := maintenance("x")
	longer.Until = longer.Until.Add(time.Hour)
	for _, m := range []topology.Maintenance{maintenance("y"), maintenance("x"), longer} {
		must(t, s.PutMaintenance(e.ctx, m))
	}
	again := exclusion("a", "")
	again.Campaign = "compromise-a"
	for _, x := range []topology.Exclusion{exclusion("b", ""), exclusion("a", ""), again, exclusion("", "a"), exclusion("", "0")} {
		must(t, s.Exclude(e.ctx, x))
	}
	expect(topology.Standing{
		Maintenance: []topology.Maintenance{longer, maintenance("y")},
		Exclusions:  []topology.Exclusion{again, exclusion("b", ""), exclusion("", "0"), exclusion("", "a")},
	})

	must(t, s.EndMaintenance(e.ctx, "y"))
	wantKind(t, s.EndMaintenance(e.ctx, "y"), fault.Refused)
	must(t, s.Readmit(e.ctx, topology.Exclusion{Site: "a"})) // and not the node of that name
	wantKind(t, s.Readmit(e.ctx, topology.Exclusion{Site: "a"}), fault.Refused)
	must(t, s.Readmit(e.ctx, topology.Exclusion{Node: "b", Reason: "found again"}))
	expect(topology.Standing{
		Maintenance: []topology.Maintenance{longer},
		Exclusions:  []topology.Exclusion{again, exclusion("", "0")},
	})
	for _, x := range []topology.Exclusion{{}, exclusion("a", "x")} {
		wantKind(t, s.Exclude(e.ctx, x), fault.Invalid)
		wantKind(t, s.Readmit(e.ctx, x), fault.Invalid)
	}
}

func testBrokenStanding(t *testing.T, e *env) {
	s := e.open()
	must(t, s.PutMaintenance(e.ctx, maintenance("x")))
	keys := []string{"/maintenance/y", "/exclusions/node/a", "/exclusions/site/z", "/exclusions/stranger/a"}
	for _, key := range keys {
		e.put(key, "{")
	}
	e.put("/exclusions/node/b", `{"node":"c"}`)
	check := func(got topology.Standing) {
		t.Helper()
		if len(got.Maintenance) != 1 || len(got.Exclusions) != 3 || got.Exclusions[0].Node != "a" || got.Exclusions[1].Node != "b" ||
			got.Exclusions[2].Site != "z" || got.Exclusions[2].Reason == "" {
			t.Fatalf("who was excluded is let back in: %+v", got)
		}
	}
	got, err := s.Standing(e.ctx)
	wantKind(t, err, fault.Mismatch)
	for _, key := range append(keys, "/exclusions/node/b") {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named by %v", key, err)
		}
	}
	check(got)
	v, err := s.View(e.ctx)
	must(t, err)
	check(v.Standing())
	if got := v.Broken(); len(got) != 5 {
		t.Fatalf("the view names %v", got)
	}
	must(t, s.Readmit(e.ctx, topology.Exclusion{Node: "a"}))
	must(t, s.Exclude(e.ctx, exclusion("b", "")))
	must(t, v.CatchUp(e.ctx))
	if got := v.Standing(); len(got.Exclusions) != 2 || !reflect.DeepEqual(got.Exclusions[0], exclusion("b", "")) || len(v.Broken()) != 3 {
		t.Fatalf("mended, the view has %+v and names %v", got, v.Broken())
	}
}

// followed checks that a view and etcd agree about campaigns, the denials of one of
// them, and what stands for a time.
func (e *env) followed(v *store.View, s *store.Store, name string) {
	e.t.Helper()
	must(e.t, v.CatchUp(e.ctx))
	records, err := s.Campaigns(e.ctx)
	must(e.t, err)
	slices.SortFunc(records, func(a, b campaign.Record) int { return b.Begun.Compare(a.Begun) })
	if got := v.Campaigns(); len(got) != len(records) || len(got) > 0 && !reflect.DeepEqual(got, records) {
		e.t.Fatalf("the view has the campaigns\n%+v, stored are\n%+v", got, records)
	}
	denials, err := s.Denials(e.ctx, name)
	must(e.t, err)
	if got := v.Denials(name); !slices.Equal(got, denials) {
		e.t.Fatalf("the view has the denials %+v, stored are %+v", got, denials)
	}
	now, err := s.Standing(e.ctx)
	must(e.t, err)
	if got := v.Standing(); !slices.Equal(got.Maintenance, now.Maintenance) || len(got.Exclusions) != len(now.Exclusions) {
		e.t.Fatalf("in the view stand %+v, stored are %+v", got, now)
	}
}

func testViewOfCampaigns(t *testing.T, e *env) {
	s := e.open()
	e.drive(s, "ab", ids("a"), ids("b"))
	e.drive(s, "cd", ids("c"), ids("d"))
	put := func(r campaign.Record) int64 {
		t.Helper()
		rev, err := s.PutCampaign(e.ctx, r)
		must(t, err)
		return rev
	}
	early := running("early", 0)
	early.Revision = put(early)
	v, err := s.View(e.ctx)
	must(t, err)
	e.followed(v, s, "late")
	only, all := v.Subscribe([]keychain.LinkID{"ab"}), v.Subscribe(nil)
	expect := func(links []keychain.LinkID, campaigns ...string) {
		t.Helper()
		receive(t, "news", all.C)
		e.followed(v, s, "late")
		if got := all.TakeCampaigns(); !slices.Equal(got, campaigns) {
			t.Errorf("campaigns that changed are %v, want %v", got, campaigns)
		}
		if got := all.Take(); !slices.Equal(got, links) {
			t.Errorf("links that changed are %v, want %v", got, links)
		}
		if got := only.TakeCampaigns(); len(got) != 0 {
			t.Errorf("a subscription to links is told of the campaigns %v", got)
		}
		if got := only.Take(); len(got) > 0 != (len(links) > 0) {
			t.Errorf("a subscription to ab is told of %v", got)
		}
		select {
		case <-only.C:
			if len(links) == 0 {
				t.Error("a subscription to links is woken by a campaign")
			}
		default:
		}
	}
	put(running("late", 5))
	expect(nil, "late")
	if got := v.Campaigns(); len(got) != 2 || got[0].Name != "late" {
		t.Fatalf("campaigns are %+v, want the one that began last first", got)
	}
	early.State = campaign.Ended
	put(early)
	expect(nil, "early")
	if got, ok := v.Campaign("early"); !ok || got.State != campaign.Ended || got.Revision <= early.Revision {
		t.Fatalf("the view has %+v, %v", got, ok)
	}
	must(t, s.Deny(e.ctx, "late", []campaign.Denial{{Link: "cd", Reason: "frozen", At: epochZero}, {Link: "ab", At: epochZero}}))
	expect(nil, "late")
	must(t, s.Undeny(e.ctx, "late", []keychain.LinkID{"ab"}))
	expect(nil, "late")
	must(t, s.PutMaintenance(e.ctx, maintenance("x")))
	expect([]keychain.LinkID{"ab", "cd"})
	must(t, s.Exclude(e.ctx, exclusion("b", "")))
	expect([]keychain.LinkID{"ab", "cd"})
	must(t, s.EndMaintenance(e.ctx, "x"))
	expect([]keychain.LinkID{"ab", "cd"})
	must(t, s.Readmit(e.ctx, exclusion("b", "")))
	expect([]keychain.LinkID{"ab", "cd"})
	must(t, s.DropCampaign(e.ctx, "late"))
	expect(nil, "late")
	if _, ok := v.Campaign("late"); ok || len(v.Denials("late")) != 0 {
		t.Fatal("a campaign that was dropped is still in the view")
	}
}

func testViewReadsCampaignsAnew(t *testing.T, e *env) {
	w, config := e.wired(t)
	s, cut := e.open(), e.openWith(config)
	for _, name := range []string{"dropped", "kept"} {
		_, err := s.PutCampaign(e.ctx, running(name, len(name)))
		must(t, err)
		must(t, s.Deny(e.ctx, name, []campaign.Denial{{Link: "ab", At: epochZero}}))
	}
	must(t, s.PutMaintenance(e.ctx, maintenance("x")))
	must(t, s.Exclude(e.ctx, exclusion("a", "")))
	v, err := cut.View(e.ctx)
	must(t, err)
	all := v.Subscribe(nil)
	w.cut()
	must(t, s.DropCampaign(e.ctx, "dropped"))
	must(t, s.EndMaintenance(e.ctx, "x"))
	must(t, s.Readmit(e.ctx, exclusion("a", "")))
	_, err = e.raw.Compact(e.ctx, e.put("/unrelated", ""))
	must(t, err)
	w.mend(nil)
	receive(t, "news after the compaction", all.C)
	e.followed(v, s, "dropped")
	e.followed(v, s, "kept")
	if got := all.TakeCampaigns(); !slices.Equal(got, []string{"dropped", "kept"}) {
		t.Fatalf("after reading anew, campaigns that may have changed are %v", got)
	}
}
