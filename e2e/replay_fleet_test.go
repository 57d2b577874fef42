package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/dynamicconfig"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/workflows"
)

// TestCampaignHistoriesReplay tells stories of campaigns, and replays what Temporal
// wrote down. With -record it keeps them: see replay_test.go.
func TestCampaignHistoriesReplay(t *testing.T) {
	w := campaignWorld(t)
	c := w.dialled()
	for _, story := range []struct {
		name string
		tell func(w *world, c client.Client) (workflow string)
	}{
		{"waves", tellWaves},
		{"taken-back", tellTakenBack},
		{"retried", tellRetried},
		{"scheduled", tellScheduled},
	} {
		w.run(story.name, func(t *testing.T) { w.replays(c, story.name, story.tell(w, c)) })
	}
}

// TestEmergencyHistoriesReplay is the same for an excluded node.
func TestEmergencyHistoriesReplay(t *testing.T) {
	w := stolenWorld(t)
	x := w.compromise(3, "--node", "bad", "--reason", "stolen")
	c := w.dialled()
	w.replays(c, "emergency", x.Campaign)
	w.replays(c, "emergency-batch", workflows.BatchID(x.Campaign, 0))
}

// TestContinuedHistoriesReplay has Temporal suggest a new run after a few events.
func TestContinuedHistoriesReplay(t *testing.T) {
	w := newWorld(t, func(o *devstack.Options) {
		o.Temporal.Tuning = dynamicconfig.StaticClient{dynamicconfig.HistoryCountSuggestContinueAsNew.Key(): 30}
	})
	w.declare(threeSites)
	w.staff()
	w.rotate(0, "--all")
	c := w.dialled()
	w.slowly(200 * time.Millisecond)
	name := w.rotate(0, "--all").Campaign
	for story, id := range map[string]string{"continued": name, "continued-batch": workflows.BatchID(name, 0)} {
		if n := w.replays(c, story, id); n < 2 {
			t.Errorf("%s has %d run, want it continued as new", story, n)
		}
	}
}

func (w *world) dialled() client.Client {
	w.t.Helper()
	c, err := wiring.DialTemporal(w.t.Context(), w.Lab.Stack.TemporalAddress, w.Lab.Stack.TemporalNamespace, w.Lab.Logger)
	must(w.t, err)
	w.t.Cleanup(c.Close)
	return c
}

// replays replays every run of a workflow, and keeps them when asked to. It says how
// many there are.
func (w *world) replays(c client.Client, story, id string) int {
	w.t.Helper()
	last := w.history(c, id)
	all := []*historypb.History{last}
	first := last.Events[0].GetWorkflowExecutionStartedEventAttributes().GetFirstExecutionRunId()
	if is := last.Events[0].GetWorkflowExecutionStartedEventAttributes().GetOriginalExecutionRunId(); is != first {
		all = nil
		for run := first; run != ""; {
			h := w.historyOf(c, id, run)
			all = append(all, h)
			run = h.Events[len(h.Events)-1].GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
		}
	}
	for i, h := range all {
		file := story
		if i > 0 {
			file = fmt.Sprintf("%s-%d", story, i+1)
		}
		if err := replay(h); err != nil {
			w.t.Errorf("%s does not replay: %v", file, err)
		}
		// The first runs and the last one are enough to keep.
		if *record != "" && (i < 2 || i == len(all)-1) {
			keep(w.t, filepath.Join("..", "workflows", "testdata", "replay", *record, file+".json"), h)
		}
	}
	return len(all)
}

func (w *world) historyOf(c client.Client, id, run string) *historypb.History {
	w.t.Helper()
	h := &historypb.History{}
	events := c.GetWorkflowHistory(w.t.Context(), id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		must(w.t, err)
		h.Events = append(h.Events, e)
	}
	return h
}

// tellWaves is a campaign that is paused after its canary, resumed and promoted.
func tellWaves(w *world, _ client.Client) string {
	name, ended := w.campaigning("--policy", "waves", "-l", "tier!=odd")
	w.until("the canary is done", func() bool { c := w.campaign(name); return len(c.Waves) == 2 && !c.Waves[0].Ended.IsZero() })
	w.keyorch(0, "pause", name, "--reason", "lunch")
	w.is(name, campaign.Paused)
	ended(4)
	w.keyorch(0, "resume", name)
	w.keyorch(0, "promote", name)
	w.is(name, campaign.Ended)
	return name
}

// tellTakenBack is a campaign that is taken back after its canary has switched.
func tellTakenBack(w *world, _ client.Client) string {
	name, ended := w.campaigning("--policy", "slowly", "slow")
	w.until("slow drains", func() bool { return w.record("slow").State.Phase.String() == "Draining" })
	w.keyorch(0, "abort", name, "--switched", "--reason", "second thoughts")
	ended(5)
	return name
}

// tellRetried is a campaign that is paused because a device says no, which is
// repaired, and tried again.
func tellRetried(w *world, _ client.Client) string {
	before := w.used()
	n4 := w.Lab.Network.Node("n4")
	n4.Refuse(true)
	name, ended := w.campaigning("last", "b", "--policy", "lastfirst")
	w.is(name, campaign.Paused)
	ended(4)
	n4.Refuse(false)
	w.until("the failure is counted", func() bool { return w.campaign(name).Tally.Failed() > 0 })
	w.keyorch(0, "retry", name)
	w.settled("last", before["last"]+2)
	w.keyorch(0, "resume", name)
	w.is(name, campaign.Ended)
	return name
}

// tellScheduled is a campaign that a schedule has begun.
func tellScheduled(w *world, _ client.Client) string {
	w.keyorch(0, "schedule", "set", "nightly", "a", "b", "--cron", "0 0 29 2 *")
	begun := strings.Fields(w.keyorch(0, "schedule", "run-now", "nightly").Out)
	name := begun[len(begun)-1]
	return w.is(name, campaign.Ended).Workflow
}
