package e2e_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

var record = flag.String("record", "", "write the histories of TestHistoriesReplay for a `release` (v0.1.0) to ../workflows/testdata/replay; "+
	"see the README there for what may be recorded, and from which commit")

// TestHistoriesReplay tells the stories of which every release keeps a history,
// and replays what Temporal wrote down. With -record it keeps them.
func TestHistoriesReplay(t *testing.T) {
	w := rotatingWorld(t)
	c, err := wiring.DialTemporal(t.Context(), w.Lab.Stack.TemporalAddress, w.Lab.Stack.TemporalNamespace, w.Lab.Logger)
	must(t, err)
	defer c.Close()
	for _, story := range []struct {
		name string
		tell func(w *world, c client.Client) (workflow string)
	}{
		{"campaign", tellCampaign},
		{"rotated", tellRotated},
		{"held", tellHeld},
		{"aborted", tellAborted},
		{"cancelled", tellCancelled},
		{"refused", tellRefused},
		{"lost", tellLost},
	} {
		t.Run(story.name, func(t *testing.T) {
			w.t = t
			h := w.history(c, story.tell(w, c))
			if err := replay(h); err != nil {
				t.Errorf("%s does not replay: %v", story.name, err)
			}
			if *record != "" {
				keep(t, filepath.Join("..", "workflows", "testdata", "replay", *record, story.name+".json"), h)
			}
		})
	}
	w.t = t
	w.noReuse()
}

// tellCampaign is the campaign itself, and tellRotated its one batch.
func tellCampaign(w *world, _ client.Client) string {
	return w.rotate(0, "dc1-dc2", "dc2-dc1").Campaign
}

func tellRotated(w *world, _ client.Client) string {
	return workflows.BatchID(w.rotate(0, "dc1-dc2", "dc2-dc1").Campaign, 0)
}

// tellHeld holds one of two links until its node is back.
func tellHeld(w *world, _ client.Client) string {
	w.agents["dc3"].Kill()
	r := w.rotate(4, "dc1-dc2", "dc1-dc3", "--timeout", "2s")
	w.startAgent("dc3")
	return workflows.BatchID(r.Campaign, 0)
}

func tellAborted(w *world, _ client.Client) string {
	w.slowly(200 * time.Millisecond)
	defer w.slowly(0)
	ended := w.rotating("dc1-dc2", "dc1-dc3")
	w.untilPhase("dc1-dc2", link.Switching)
	owner := w.record("dc1-dc2").Owner
	w.keyorch(0, "abort", "dc1-dc2", "--reason", "a change of mind")
	ended(5)
	return owner
}

func tellCancelled(w *world, c client.Client) string {
	w.slowly(200 * time.Millisecond)
	defer w.slowly(0)
	ended := w.rotating("dc1-dc2", "dc1-dc3")
	w.untilPhase("dc1-dc2", link.Staging)
	owner := w.record("dc1-dc2").Owner
	must(w.t, c.CancelWorkflow(w.t.Context(), owner, ""))
	ended(5)
	return owner
}

// tellRefused asks for a link that another campaign is rotating. The verb would
// refuse that itself.
func tellRefused(w *world, c client.Client) string {
	w.slowly(200 * time.Millisecond)
	defer w.slowly(0)
	ended := w.rotating("dc1-dc2")
	w.untilPhase("dc1-dc2", link.Staging)
	const id = "late"
	must(w.t, wiring.Campaigns{Client: c}.Start(w.t.Context(), id, workflows.Batch{
		Campaign: id, Intent: workflows.ToRotate, Links: []keychain.LinkID{"dc1-dc2", "dc1-dc3"},
	}))
	ended(0)
	return id
}

// tellLost has a sender lose its counter when it has just switched, so that the
// link needs another epoch.
func tellLost(w *world, _ client.Client) string {
	before := w.record("dc1-dc3").State.To.Epoch
	w.slowly(200 * time.Millisecond)
	defer w.slowly(0)
	ended := w.rotating("dc1-dc3")
	w.untilPhase("dc1-dc3", link.Switching)
	w.Lab.Network.Node("dc3-spine1").Slow(600 * time.Millisecond) // time to notice
	owner := w.record("dc1-dc3").Owner
	w.untilPhase("dc1-dc3", link.Draining)
	w.Lab.Network.Node("dc1-spine1").RebootLosingKeys()
	ended(0)
	w.settled("dc1-dc3", before+2)
	w.settled("dc1-dc2", w.record("dc1-dc2").State.To.Epoch)
	return owner
}

// noReuse wants no counter used twice with the same key. Packets may be lost: a
// sender restarted without its keys.
func (w *world) noReuse() {
	w.t.Helper()
	for _, l := range w.topo.Links {
		if s := w.Lab.Network.Stats(l.Name); s.Reused > 0 {
			w.t.Errorf("%s: %d packets went out with a counter used before", l.Name, s.Reused)
		}
	}
}

// history is what Temporal wrote down about a workflow that has ended, or is
// about to.
func (w *world) history(c client.Client, id string) *historypb.History {
	w.t.Helper()
	var out workflows.Outcome
	if err := c.GetWorkflow(w.t.Context(), id, "").Get(w.t.Context(), &out); err != nil {
		w.t.Fatalf("%s ended with %v", id, err)
	}
	h := &historypb.History{}
	events := c.GetWorkflowHistory(w.t.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		must(w.t, err)
		h.Events = append(h.Events, e)
	}
	return h
}

func replay(h *historypb.History) error {
	r := worker.NewWorkflowReplayer()
	r.RegisterWorkflow(workflows.Rotate)
	r.RegisterWorkflow(workflows.Campaign)
	started := h.Events[0].GetWorkflowExecutionStartedEventAttributes()
	return r.ReplayWorkflowHistoryWithOptions(nil, h, worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId()},
	})
}

// keep writes a history, one event a line, without what names this machine.
func keep(t *testing.T, file string, h *historypb.History) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	var b bytes.Buffer
	b.WriteString("{\"events\":[\n")
	for i, e := range h.Events {
		raw, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(e)
		must(t, err)
		var event any
		must(t, json.Unmarshal(raw, &event))
		line, err := json.Marshal(nameless(event))
		must(t, err)
		b.Write(line)
		if i < len(h.Events)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]}\n")
	must(t, os.WriteFile(file, b.Bytes(), 0o644))
}

// nameless is an event without the names of hosts, processes and binaries.
func nameless(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = nameless(v[i])
		}
	case map[string]any:
		for k, x := range v {
			switch k {
			case "identity":
				v[k] = "worker"
			case "binaryChecksum", "buildId":
				v[k] = "build"
			case "name":
				if v["kind"] == "TASK_QUEUE_KIND_STICKY" {
					v[k] = "sticky"
				}
			default:
				v[k] = nameless(x)
			}
		}
	}
	return v
}
