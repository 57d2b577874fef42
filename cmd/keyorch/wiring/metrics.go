package wiring

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"

	"github.com/keyorch/keyorch/agents"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/metrics"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
	"github.com/keyorch/keyorch/workflows"
)

// WorkerMetrics are those of a worker of this build.
func WorkerMetrics() *metrics.Worker { return metrics.NewWorker(workflows.TaskQueue) }

// AgentMetrics are those of an agent of this build.
func AgentMetrics() *metrics.Agent {
	return metrics.NewAgent(slices.Sorted(maps.Keys(Kinds())))
}

// WithMetrics lets m see what Temporal's client counts; nothing when m is nil.
func WithMetrics(m *metrics.Worker) func(*client.Options) {
	return func(o *client.Options) {
		if m != nil {
			o.MetricsHandler = m.Temporal()
		}
	}
}

// watch shows the fleet in the metrics, if there are any, until ctx ends.
func (w Worker) watch(ctx context.Context, shown watched) {
	if w.Metrics != nil {
		w.Metrics.Watch(ctx, fleetView{shown})
	}
}

// fleetView is the store's view as metrics see it.
type fleetView struct{ watched }

func (v fleetView) Subscribe(ids []keychain.LinkID) metrics.Subscription {
	return v.watched.Subscribe(ids)
}

// observer feeds the metrics of an agent, if there are any.
func (a Agent) observer() agents.Observer {
	if a.Metrics == nil {
		return agents.Observer{}
	}
	return agents.Observer{Confirmed: a.Metrics.Confirmed, DeviceFault: a.Metrics.DeviceFault, Repaired: a.Metrics.Repaired}
}

// timed is n with a clock on its switches, if there are metrics.
func (a Agent) timed(n agents.Node) agents.Node {
	if a.Metrics == nil || n.Upstream == nil {
		return n
	}
	clocked := clocked{Device: n.Upstream, kind: n.Kind, to: a.Metrics}
	n.Upstream = clocked
	if r, ok := clocked.Device.(upstream.Resumer); ok {
		n.Upstream = clockedResumer{clocked, r}
	}
	return n
}

// clocked measures how long a device takes to switch.
type clocked struct {
	upstream.Device
	kind string
	to   *metrics.Agent
}

// Switch implements upstream.Device.
func (c clocked) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	began := time.Now()
	err := c.Device.Switch(ctx, sa, key)
	if err == nil {
		c.to.Switched(c.kind, time.Since(began))
	}
	return err
}

// clockedResumer is clocked for devices that resume as well.
type clockedResumer struct {
	clocked
	upstream.Resumer
}

// interceptors feed the metrics of a worker, if there are any.
func (w Worker) interceptors() []interceptor.WorkerInterceptor {
	if w.Metrics == nil {
		return nil
	}
	return []interceptor.WorkerInterceptor{&sizing{to: w.Metrics}}
}

// sizing measures the batches that activities are given.
type sizing struct {
	interceptor.WorkerInterceptorBase
	to *metrics.Worker
}

// InterceptActivity implements interceptor.WorkerInterceptor.
func (s *sizing) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &sized{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}, to: s.to}
}

type sized struct {
	interceptor.ActivityInboundInterceptorBase
	to *metrics.Worker
}

// ExecuteActivity implements interceptor.ActivityInboundInterceptor. A batch is
// counted when it is tried first.
func (s *sized) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	if activity.GetInfo(ctx).Attempt == 1 {
		for _, arg := range in.Args {
			switch arg := arg.(type) {
			case workflows.BeginRequest:
				s.to.Began(len(arg.Links))
			case []link.Record:
				s.to.Committed(len(arg))
			}
		}
	}
	return s.Next.ExecuteActivity(ctx, in)
}
