package wiring

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

func begin(context.Context, workflows.BeginRequest) error { return nil }
func save(context.Context, []link.Record) error           { return nil }

func TestBatchesAreMeasured(t *testing.T) {
	m := WorkerMetrics()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: Worker{Metrics: m}.interceptors()})
	env.RegisterActivity(begin)
	env.RegisterActivity(save)
	if _, err := env.ExecuteActivity(begin, workflows.BeginRequest{Links: []keychain.LinkID{"a", "b", "c"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := env.ExecuteActivity(save, []link.Record{{Link: "a"}, {Link: "b"}}); err != nil {
		t.Fatal(err)
	}
	page := scrape(t, m.Handler(slog.New(slog.DiscardHandler)))
	for _, want := range []string{"\nkeyorch_batch_links_sum 3\n", "\nkeyorch_commit_links_sum 2\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", strings.TrimSpace(want))
		}
	}
}

func TestWithoutMetricsNothingIsHooked(t *testing.T) {
	if n := len(Worker{}.interceptors()); n != 0 {
		t.Errorf("%d interceptors", n)
	}
	if o := (Agent{}).observer(); o.Confirmed != nil || o.DeviceFault != nil || o.Repaired != nil {
		t.Error("an agent without metrics has hooks")
	}
	var o client.Options
	WithMetrics(nil)(&o)
	if o.MetricsHandler != nil {
		t.Error("a client without metrics has a handler")
	}
}

func TestAgentsKnowEveryKindOfDevice(t *testing.T) {
	m := AgentMetrics()
	o := Agent{Metrics: m}.observer()
	for kind := range Kinds() {
		o.Repaired(kind)
	}
	if page := scrape(t, m.Handler(slog.New(slog.DiscardHandler))); strings.Contains(page, `kind="other"`) {
		t.Error("a kind of device is counted as other")
	}
}

func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}
