package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

func printed(t *testing.T, of func(a *app) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := of(&app{out: &b}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func historyOfAll(t *testing.T) string {
	return printed(t, func(a *app) error { return withPaused().sight().campaignsPast(a, 1, asTable) })
}

func historyOfCampaign(t *testing.T) string {
	return printed(t, func(a *app) error { return withPaused().sight().campaignPast(t.Context(), a, "weekly", asTable) })
}

func historyOfLink(t *testing.T) string {
	f := smallFleet()
	f.pasts[linkName(0)] = somePast()
	return printed(t, func(a *app) error { return f.sight().linkPast(t.Context(), a, linkName(0), asTable) })
}

// somePast is a rotation from epoch 1 to 2, and the beginning of another.
func somePast() []link.Entry {
	at := func(ms int) time.Time { return morning.Add(time.Duration(ms) * time.Millisecond) }
	fresh := key(2).Ref
	fresh.KCV = ""
	id, one, two := linkName(0), key(1).Ref, key(2).Ref
	return []link.Entry{
		{Link: id, Turn: 5, Phase: link.Staging, From: one, To: fresh, At: at(0), Campaign: "nightly"},
		{Link: id, Turn: 6, Phase: link.Switching, From: one, To: two, At: at(900), Campaign: "nightly", Confirmed: []link.Confirmation{
			{Node: "b1", Turn: 5, Key: two, At: at(300)}, {Node: "b2", Turn: 5, Key: two, At: at(880)},
		}},
		{Link: id, Turn: 7, Phase: link.Draining, From: one, To: two, At: at(1000), Campaign: "nightly", Confirmed: []link.Confirmation{{Node: "a1", Turn: 6, Key: two, Sends: true, At: at(990)}}},
		{Link: id, Turn: 8, Phase: link.Retiring, From: one, To: two, At: at(6000), Campaign: "nightly"},
		{Link: id, Turn: 9, Phase: link.Steady, To: two, At: at(6200), Campaign: "nightly", Outcome: link.Rotated, Confirmed: []link.Confirmation{{Node: "b1", Turn: 8, Key: two, At: at(6100)}}},
		{Link: id, Turn: 10, Phase: link.Staging, From: two, To: keychain.Ref{Epoch: 3}, At: at(90000), Campaign: "weekly"},
		{Link: id, Turn: 11, Phase: link.Retiring, From: keychain.Ref{Epoch: 3}, To: two, At: at(95000), Campaign: "weekly", Reason: "by the operator"},
	}
}

func TestHistoryOfAnOldCampaignAsksThePastOfLinksThatHaveMovedOn(t *testing.T) {
	f := smallFleet()
	old := f.campaigns[0]
	old.Name, old.Begun, old.Ended = "old", morning.Add(-2*time.Hour), morning.Add(-time.Hour)
	old.Waves = []campaign.WaveStatus{{Name: "all", Count: 1, Begun: old.Begun, Tally: campaign.Tally{Links: 3}}}
	old.Tally = campaign.Tally{Links: 3, Rotated: 1, Aborted: 1}
	f.campaigns = append(f.campaigns, old)
	f.pasts[linkName(0)] = []link.Entry{{Campaign: "old", Outcome: link.Rotated}, {Campaign: "nightly", Outcome: link.Rotated}}
	f.pasts[linkName(1)] = []link.Entry{{Campaign: "old", Outcome: link.Aborted, Reason: "by the operator"}, {Campaign: "nightly", Outcome: link.Rotated}}
	waves, err := f.sight().standings(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := campaign.Count(waves[0]), (campaign.Tally{Links: 3, Rotated: 1, Aborted: 1, Superseded: 1}); got != want {
		t.Errorf("it counts %+v, not %+v", got, want)
	}
	if left := inTrouble(waves); len(left) != 2 || left[0].Reason != "by the operator" {
		t.Errorf("it lists %+v", left)
	}
	if _ = printed(t, func(a *app) error { return f.sight().campaignPast(t.Context(), a, "old", asTable) }); f.campaigns[1].Waves[0].Tally.Rotated != 0 {
		t.Error("it changed the view's own record")
	}
	f.pasts = nil // teeth: without their past, all have been taken over
	waves, err = f.sight().standings(t.Context(), old)
	if got := campaign.Count(waves[0]); err != nil || got.Superseded != 3 {
		t.Errorf("without histories it counts %+v (%v)", got, err)
	}
}
