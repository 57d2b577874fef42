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

	"github.com/keyorch/keyorch/workflows"
)

// histories are the recorded runs of every release, by file.
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
		if !regexp.MustCompile(`^v\d+\.\d+\.\d+$`).MatchString(filepath.Base(dir)) {
			t.Errorf("%s is not named after a release", dir)
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

// replay runs a workflow, as Rotate, against a history.
func replay(rotate any, h *historypb.History) error {
	r := worker.NewWorkflowReplayer()
	r.RegisterWorkflowWithOptions(rotate, workflow.RegisterOptions{Name: "Rotate"})
	started := h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes()
	return r.ReplayWorkflowHistoryWithOptions(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), h,
		worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{
			ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId(),
		}})
}

// TestReplay replays what every release has recorded: see testdata/replay.
func TestReplay(t *testing.T) {
	for file, h := range histories(t) {
		t.Run(filepath.ToSlash(file), func(t *testing.T) {
			if err := replay(workflows.Rotate, h); err != nil {
				t.Errorf("a run under way would get stuck: %v", err)
			}
		})
	}
}

// TestReplayHasTeeth replays with workflows that do something else. Every history
// must notice.
func TestReplayHasTeeth(t *testing.T) {
	changed := map[string]any{
		"it waits first": func(ctx workflow.Context, in workflows.Batch) (workflows.Outcome, error) {
			_ = workflow.Sleep(ctx, time.Second)
			return workflows.Rotate(ctx, in)
		},
		"it asks something first": func(ctx workflow.Context, in workflows.Batch) (workflows.Outcome, error) {
			ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
			_ = workflow.ExecuteActivity(ctx, "Check", in).Get(ctx, nil)
			return workflows.Rotate(ctx, in)
		},
		"it does more at the end": func(ctx workflow.Context, in workflows.Batch) (workflows.Outcome, error) {
			out, err := workflows.Rotate(ctx, in)
			if err == nil {
				err = workflow.Sleep(ctx, time.Second)
			}
			return out, err
		},
		"it does not save": func(ctx workflow.Context, in workflows.Batch) (workflows.Outcome, error) {
			in.Links = in.Links[:0]
			return workflows.Rotate(ctx, in)
		},
	}
	for file, h := range histories(t) {
		for name, rotate := range changed {
			t.Run(filepath.ToSlash(file)+" "+name, func(t *testing.T) {
				if err := replay(rotate, h); err == nil {
					t.Error("nobody noticed")
				}
			})
		}
	}
}
