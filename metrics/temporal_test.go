package metrics

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTemporalIsShownAsPrometheusHasIt(t *testing.T) {
	w := NewWorker("keyorch")
	root := w.Temporal().WithTags(map[string]string{"namespace": "default", "client_name": "temporal_go", "worker_type": "none", "task_queue": "none"})
	poller := root.WithTags(map[string]string{"task_queue": "keyorch", "poller_type": "activity_task", "worker_type": "ActivityWorker"})
	poller.Gauge("temporal_num_pollers").Update(2)
	poller.Counter("temporal_poller_start").Inc(3)
	poller.Counter("temporal_local_activity_total").Inc(1)
	root.WithTags(map[string]string{"operation": "PollActivityTaskQueue"}).Timer("temporal_long_request_latency").Record(1500 * time.Millisecond)
	root.WithTags(map[string]string{"operation": "PollActivityTaskQueue", "status_code": "DEADLINE_EXCEEDED"}).Counter("temporal_long_request_failure").Inc(1)
	root.Counter("temporal_long_request_failure").Inc(1) // other labels, same name
	want(t, scraped(t, w.Handler(complaining(t))), map[string]float64{
		`temporal_num_pollers{poller_type="activity_task",task_queue="keyorch",worker_type="ActivityWorker"}`:          2,
		`temporal_poller_start_total{poller_type="activity_task",task_queue="keyorch",worker_type="ActivityWorker"}`:   3,
		`temporal_local_activity_total{poller_type="activity_task",task_queue="keyorch",worker_type="ActivityWorker"}`: 1,
		`temporal_long_request_latency_seconds_sum{operation="PollActivityTaskQueue"}`:                                 1.5,
		`temporal_long_request_failure_total{operation="PollActivityTaskQueue",status_code="DEADLINE_EXCEEDED"}`:       1,
		`temporal_long_request_failure_total`: 1,
	})
}

func TestTemporalCannotBreakAScrape(t *testing.T) {
	w := NewWorker("keyorch")
	h := w.Temporal()
	h.Counter("temporal_a").Inc(1)
	h.Gauge("temporal_a_total").Update(7) // the name of the counter above, as another type
	h.Timer("temporal_b").Record(-time.Second)
	h.Timer("temporal_b_seconds").Record(time.Second)
	h.Counter("temporal_c").Inc(-5)
	h.Counter("keyorch_rotations").Inc(1)
	h.Counter("bad name{}").Inc(1)
	h.Counter("").Inc(1)
	got := scraped(t, w.Handler(complaining(t)))
	want(t, got, map[string]float64{"temporal_a_total": 1, "temporal_b_seconds_count": 2, "temporal_c_total": 0, `keyorch_rotations_total{outcome="rotated"}`: 0})
	for name := range got {
		if strings.HasPrefix(name, "bad") {
			t.Error("found", name)
		}
	}
}

func TestTemporalIsBounded(t *testing.T) {
	w := NewWorker("keyorch")
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 2 * maxSeries {
				code := strings.Map(func(r rune) rune { return r - '0' + 'A' }, fmt.Sprint(g, i))
				code = strings.ReplaceAll(code, string(' '-'0'+'A'), "_")
				w.Temporal().WithTags(map[string]string{"status_code": code}).Counter("temporal_request_failure").Inc(1)
			}
		})
	}
	all.Wait()
	if n := len(w.temporal.series); n != maxSeries {
		t.Errorf("%d series, want %d", n, maxSeries)
	}
	scraped(t, w.Handler(complaining(t)))
}

// TestNoNameAndNoKeyIsALabelOfTemporal feeds every label with what must not get
// out. The teeth are in the values that do.
func TestNoNameAndNoKeyIsALabelOfTemporal(t *testing.T) {
	tm := newTemporal("keyorch")
	for i, label := range temporalLabels() {
		for _, secret := range []string{
			"dc1-dc2", "dc1", "a", "link1", strings.Repeat("a", 63), "keyorch-rotate-nightly-0",
			"host:2b7ff5bd-5f30-4f3f-8f5b-5f5e9e5f5e5f",
			"3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "A9zQAbcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM",
			strings.Repeat("deadbeef", 8), strings.Repeat("DEADBEEF", 8), "vault:v1:AAAA", "hvs.CAESIJ",
		} {
			if got := tm.admit(i, secret); got != other {
				t.Errorf("%s may be %q", label, got)
			}
		}
	}
	for label, value := range map[int]string{tagQueue: "keyorch", tagWorkflowType: "Rotate", tagActivityType: "Await",
		tagWorkerType: "WorkflowWorker", tagOperation: "RespondWorkflowTaskCompleted", tagStatus: "UNAVAILABLE", tagPollerType: "workflow_sticky_task"} {
		if got := tm.admit(label, value); got != value {
			t.Errorf("%s is %q, want %q", temporalLabels()[label], got, value)
		}
	}
}
