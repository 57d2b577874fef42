package workflows_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/workflows"
)

// histories are the recorded runs of every version, by file.
func histories(t *testing.T) map[string]*historypb.History {
	t.Helper()
	releases, err := filepath.Glob(filepath.Join("testdata", "replay", "*", ""))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*historypb.History{}
	for _, dir := range releases {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		if !regexp.MustCompile(`^(v\d+\.\d+\.\d+|[0-9a-f]{7})$`).MatchString(filepath.Base(dir)) {
			t.Errorf("%s is not named after a release or a commit", dir)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		if len(files) == 0 {
			t.Errorf("%s has no history", dir)
		}
		for _, file := range files {
			found[file] = history(t, file)
		}
	}
	if len(found) == 0 {
		t.Fatal("there is not one history to replay")
	}
	return found
}

func history(t *testing.T, file string) *historypb.History {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsRune(data, '@') { // an identity is process@host
		t.Errorf("%s names the machine that it was recorded on", file)
	}
	h, err := client.HistoryFromJSON(bytes.NewReader(data), client.HistoryJSONOptions{})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return h
}

// replay runs the workflow that a history is of, Rotate or Campaign, against it.
func replay(rotate, campaign any, h *historypb.History) error {
	r := worker.NewWorkflowReplayer()
	r.RegisterWorkflowWithOptions(rotate, workflow.RegisterOptions{Name: "Rotate"})
	r.RegisterWorkflowWithOptions(campaign, workflow.RegisterOptions{Name: "Campaign"})
	started := h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes()
	return r.ReplayWorkflowHistoryWithOptions(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), h,
		worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{
			ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId(),
		}})
}

// TestReplay replays what every version has recorded: see testdata/replay.
func TestReplay(t *testing.T) {
	for file, h := range histories(t) {
		t.Run(filepath.ToSlash(file), func(t *testing.T) {
			if err := replay(workflows.Rotate, workflows.Campaign, h); err != nil {
				t.Errorf("a run under way would get stuck: %v", err)
			}
		})
	}
}

// TestReplayHasEverything wants of the newest version what a run can come to.
func TestReplayHasEverything(t *testing.T) {
	seen := map[string]bool{}
	for _, h := range histories(t) {
		for _, e := range h.GetEvents() {
			seen[e.GetEventType().String()] = true
			if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
				seen[a.GetActivityType().GetName()] = true
			}
			if a := e.GetWorkflowExecutionUpdateAcceptedEventAttributes(); a != nil {
				seen["update "+a.GetAcceptedRequest().GetInput().GetName()] = true
			}
		}
	}
	for _, want := range []string{
		"Begin", "Await", "Save", "PlanCampaign", "SaveCampaign", "LaunchBatches", "Follow", "HaltBatches", "RetryHeld",
		"update abort", "update pause", "update resume", "update promote", "update retry",
		"WorkflowExecutionContinuedAsNew", "WorkflowExecutionCancelRequested", "TimerStarted", "ActivityTaskCancelRequested",
	} {
		if !seen[want] {
			t.Errorf("there is no history with %s", want)
		}
	}
}

// TestReplayHasTeeth replays with workflows that do something else. Every history
// must notice.
func TestReplayHasTeeth(t *testing.T) {
	for name, before := range map[string]func(ctx workflow.Context){
		"it waits first": func(ctx workflow.Context) { _ = workflow.Sleep(ctx, time.Second) },
		"it asks something first": func(ctx workflow.Context) {
			_ = workflow.ExecuteActivity(quick(ctx), "Check").Get(ctx, nil)
		},
		// The second command of each, first.
		"the order has changed": func(ctx workflow.Context) {
			next := map[string]string{"Rotate": "Await", "Campaign": "LaunchBatches"}[workflow.GetInfo(ctx).WorkflowType.Name]
			workflow.ExecuteActivity(quick(ctx), next)
		},
	} {
		noticed(t, name,
			func(ctx workflow.Context, in workflows.Batch) (workflows.Outcome, error) {
				before(ctx)
				return workflows.Rotate(ctx, in)
			},
			func(ctx workflow.Context, in workflows.CampaignRequest) (campaign.Record, error) {
				before(ctx)
				return workflows.Campaign(ctx, in)
			})
	}
	noticed(t, "it does more at the end",
		func(ctx workflow.Context, in workflows.Batch) (workflows.Outcome, error) {
			out, err := workflows.Rotate(ctx, in)
			more(ctx)
			return out, err
		},
		func(ctx workflow.Context, in workflows.CampaignRequest) (campaign.Record, error) {
			out, err := workflows.Campaign(ctx, in)
			more(ctx)
			return out, err
		})
	noticed(t, "it does nothing",
		func(ctx workflow.Context, in workflows.Batch) (workflows.Outcome, error) {
			in.Links = in.Links[:0]
			return workflows.Rotate(ctx, in)
		},
		func(workflow.Context, workflows.CampaignRequest) (campaign.Record, error) {
			return campaign.Record{}, nil
		})
}

func quick(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
}

// more is a command that goes on after a cancellation.
func more(ctx workflow.Context) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	_ = workflow.Sleep(ctx, time.Second)
}

func noticed(t *testing.T, name string, rotate, campaign any) {
	t.Helper()
	for file, h := range histories(t) {
		t.Run(filepath.ToSlash(file)+" "+name, func(t *testing.T) {
			if err := replay(rotate, campaign, h); err == nil {
				t.Error("nobody noticed")
			}
		})
	}
}
