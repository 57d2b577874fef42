package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

func TestTheSameLinksAreSelectedAgain(t *testing.T) {
	for _, c := range []struct {
		want      string
		selection campaign.Selection
	}{
		{"", campaign.Selection{Policy: "core"}},
		{" --of-policy 'edge'", campaign.Selection{Policy: "edge"}},
		{" a b", campaign.Selection{Links: []keychain.LinkID{"a", "b"}}},
		{" --of-policy 'core' -l 'tier in (a, b)'", campaign.Selection{Policy: "core", Selector: "tier in (a, b)"}},
		{" --site 'dc1' --node 'n' --node-selector 'x' --site-selector 'y'",
			campaign.Selection{Site: "dc1", Node: "n", NodeSelector: "x", SiteSelector: "y"}},
		{" --all", campaign.Selection{All: true}},
	} {
		if got := selectionArgs(c.selection, "core"); got != c.want {
			t.Errorf("%+v: %q, want %q", c.selection, got, c.want)
		}
	}
}

func TestAPolicyThatDiffersIsNoted(t *testing.T) {
	two, three := topology.Schedule{Cron: "0 2 * * *"}, topology.Schedule{Cron: "0 3 * * *", Jitter: time.Minute}
	for _, c := range []struct {
		name   string
		policy topology.Policy
		set    wiring.Schedule
		want   string // empty: no note
	}{
		{"the same", topology.Policy{Name: "core", Schedule: two}, wiring.Schedule{When: two, TimeZone: "UTC", OfPolicy: true}, ""},
		{"another time", topology.Policy{Name: "core", Schedule: three}, wiring.Schedule{When: two, OfPolicy: true},
			"policy core says 0 3 * * * (UTC) with a jitter of 1m0s: keyorch schedule set nightly --policy core"},
		{"another zone", topology.Policy{Name: "core", Schedule: two, TimeZone: "Europe/Berlin"}, wiring.Schedule{When: two, OfPolicy: true},
			"policy core says 0 2 * * * (Europe/Berlin)"},
		{"none any more", topology.Policy{Name: "core"}, wiring.Schedule{When: two, OfPolicy: true}, "policy core has no schedule any more"},
		{"never had one", topology.Policy{Name: "core"}, wiring.Schedule{When: two}, ""},
		{"gone", topology.Policy{Name: "edge"}, wiring.Schedule{When: two, OfPolicy: true}, "policy core is not declared any more"},
	} {
		c.set.Name, c.set.Request = "nightly", workflows.CampaignRequest{Policy: "core", Selection: campaign.Selection{Policy: "core"}}
		got := policyNotes(topology.Topology{Policies: []topology.Policy{c.policy}}, wiring.ScheduleState{Schedule: c.set})
		said := strings.Join(got, "\n")
		if c.want == "" && said != "" || !strings.Contains(said, c.want) {
			t.Errorf("%s: %q, want %q", c.name, said, c.want)
		}
	}
	if got := policyNotes(topology.Topology{}, wiring.ScheduleState{}); got != nil {
		t.Errorf("without a policy: %q", got)
	}
}

// A schedule that is written in another zone than the policy's windows cannot be held
// against them by the clock.
func TestWindowsCountInTheirOwnZone(t *testing.T) {
	p := topology.Policy{TimeZone: "Europe/Berlin", Windows: []topology.Window{{From: "01:00", To: "05:00"}}}
	noon := wiring.Schedule{When: topology.Schedule{Cron: "0 12 * * *"}, TimeZone: "Europe/Berlin"}
	if err := checkSchedule(p, noon); err == nil {
		t.Error("noon is outside of the windows, and accepted")
	}
	noon.TimeZone = "Pacific/Auckland" // where it is night in Berlin
	if err := checkSchedule(p, noon); err != nil {
		t.Errorf("noon in Auckland: %v", err)
	}
}
