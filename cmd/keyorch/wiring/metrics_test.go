package wiring

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/keyorch/keyorch/agents"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/upstream"
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

// TestWhatServersAreAskedIsNotCountedAsOther keeps the words of metrics those of
// the packages that they come from.
func TestWhatServersAreAskedIsNotCountedAsOther(t *testing.T) {
	w, a := WorkerMetrics(), AgentMetrics()
	for _, op := range []string{store.OpGet, store.OpTxn, store.OpLease} {
		w.EtcdRequest(op, time.Second, nil)
		a.EtcdRequest(op, time.Second, nil)
	}
	for _, op := range []string{custody.OpMint, custody.OpUnwrap} {
		w.VaultRequest(op, time.Second, nil)
		a.VaultRequest(op, time.Second, nil)
	}
	for _, role := range []string{agents.RoleSends, agents.RoleAccepts, agents.RoleBoth} {
		a.Confirmed("sim", role, time.Second)
	}
	for _, h := range []http.Handler{w.Handler(slog.New(slog.DiscardHandler)), a.Handler(slog.New(slog.DiscardHandler))} {
		for line := range strings.Lines(scrape(t, h)) {
			if strings.Contains(line, `"other"`) && strings.Contains(line, "_seconds") {
				t.Error(strings.TrimSpace(line))
			}
		}
	}
}

// TestSwitchesAreTimed on devices that resume and on those that do not, and takes
// nothing away from either.
func TestSwitchesAreTimed(t *testing.T) {
	m := AgentMetrics()
	for _, dev := range []upstream.Device{sender{}, resumer{}} {
		_, resumes := dev.(upstream.Resumer)
		node := agents.Node{Kind: "sim", Upstream: dev}
		if same := (Agent{}).timed(node); same.Upstream != dev {
			t.Error("without metrics it is another device")
		}
		timed := Agent{Metrics: m}.timed(node).Upstream
		if _, still := timed.(upstream.Resumer); still != resumes {
			t.Errorf("it resumes: %v, before %v", still, resumes)
		}
		for _, epoch := range []keychain.Epoch{1, 2} { // the first is refused
			if err := timed.Switch(t.Context(), keychain.SA{Ref: keychain.Ref{Epoch: epoch}}, secret.Key{}); (err == nil) != (epoch == 2) {
				t.Error(err)
			}
		}
	}
	if page := scrape(t, m.Handler(slog.New(slog.DiscardHandler))); !strings.Contains(page, "\nkeyorch_switch_seconds_count{kind=\"sim\"} 2\n") {
		t.Error("two switches are not counted as two")
	}
}

// sender is a device that refuses epoch 1.
type sender struct{ upstream.Device }

func (sender) Switch(_ context.Context, sa keychain.SA, _ secret.Key) error {
	if sa.Epoch == 1 {
		return fault.New(fault.Refused, "switch")
	}
	return nil
}

type resumer struct{ sender }

func (resumer) Resume(context.Context, keychain.SA) error { return nil }

func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}
