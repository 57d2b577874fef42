package e2e_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/link"
)

// versioned starts a worker of a version, beside the one that runs.
func (w *world) versioned(build string, more ...string) *lab.Process {
	w.t.Helper()
	p, err := w.Worker(context.Background(), append([]string{"--deployment", "keyorch", "--build-id", build}, more...)...)
	must(w.t, err)
	return p
}

// current is the version that Temporal hands work to.
func (w *world) current(c client.Client) string {
	d, err := c.WorkerDeploymentClient().GetHandle("keyorch").Describe(w.t.Context(), client.WorkerDeploymentDescribeOptions{})
	if err != nil || d.Info.RoutingConfig.CurrentVersion == nil {
		return ""
	}
	return d.Info.RoutingConfig.CurrentVersion.BuildID
}

func (w *world) becomes(c client.Client, build string) {
	w.t.Helper()
	w.eventually(build+" is current", func() bool { return w.current(c) == build })
}

// logged waits until the workers have said something.
func (w *world) logged(text string) {
	w.t.Helper()
	w.eventually("a worker says "+text, func() bool {
		data, err := os.ReadFile(w.worker.Log)
		must(w.t, err)
		return strings.Contains(string(data), text)
	})
}

// TestADeployBreaksNoRotation replaces the workers in the middle of rotations: from
// ones without a version to ones with, by a rolling update, and by force.
func TestADeployBreaksNoRotation(t *testing.T) {
	w := rotatingWorld(t)
	c := w.dialled()
	w.slowly(100 * time.Millisecond)
	for _, deploy := range []struct {
		name, to string
		replace  func(to string)
	}{
		{"from no version", "v1.0.0", func(to string) { w.rollTo(c, to) }},
		{"rolling", "v1.1.0", func(to string) { w.rollTo(c, to) }},
		{"killed", "v1.1.0-3-gdeadbee", func(to string) {
			w.worker.Kill()
			w.worker = w.versioned(to)
		}},
	} {
		for _, phase := range []link.Phase{link.Staging, link.Switching, link.Draining} {
			w.run(deploy.name+" in "+phase.String(), func(t *testing.T) {
				before := w.record("dc1-dc2").State.To.Epoch
				ended := w.rotating("dc1-dc2", "dc2-dc1")
				w.untilPhase("dc1-dc2", phase)
				owner := w.record("dc1-dc2").Owner
				w.agents["dc1"].Kill() // so that it cannot end before the deploy has
				w.agents["dc2"].Kill()
				deploy.replace(deploy.to)
				w.startAgent("dc1")
				w.startAgent("dc2")
				ended(0)
				w.settled("dc1-dc2", before+1)
				w.settled("dc2-dc1", before+1)
				d, err := c.DescribeWorkflowExecution(t.Context(), owner, "")
				must(t, err)
				if is := d.GetWorkflowExecutionInfo().GetVersioningInfo().GetDeploymentVersion().GetBuildId(); is != deploy.to {
					t.Errorf("%s ended with version %q, want %s", owner, is, deploy.to)
				}
				w.noLoss()
			})
		}
	}
	w.run("an older version takes nothing over", func(*testing.T) { w.goesBack(c) })
	w.run("a pinned rotation would be stranded", func(t *testing.T) { w.pinned(t, c) })
	w.run("a worker without a version says so", func(*testing.T) {
		w.worker.Kill()
		w.startWorker()
		w.logged("it has no version, and Temporal hands work to one")
	})
}

// rollTo starts the new worker, and ends the old one when the new one is current.
func (w *world) rollTo(c client.Client, to string) {
	w.t.Helper()
	old := w.worker
	w.worker = w.versioned(to)
	w.becomes(c, to)
	if code := old.Terminate(); code != 0 {
		w.t.Errorf("the old worker ended with %d", code)
	}
}

// goesBack has an older version wait until it is told.
func (w *world) goesBack(c client.Client) {
	newest := w.current(c)
	w.worker.Kill()
	w.worker = w.versioned("v1.0.0")
	w.logged("a newer version is current")
	waits := w.rotate(4, "dc1-dc2", "--timeout", "3s").Campaign
	if is := w.current(c); is != newest {
		w.t.Fatalf("%s is current, want %s", is, newest)
	}
	w.worker.Kill()
	w.worker = w.versioned("v1.0.0", "--allow-downgrade")
	w.becomes(c, "v1.0.0")
	w.is(waits, campaign.Ended)
	w.noLoss()
}

// pinned takes the protection away: a rotation that is pinned to its version ends
// with that version's workers.
func (w *world) pinned(t *testing.T, c client.Client) {
	ended := w.rotating("dc1-dc2")
	w.untilPhase("dc1-dc2", link.Staging)
	owner := w.record("dc1-dc2").Owner
	pin := func(o client.VersioningOverride) {
		_, err := c.UpdateWorkflowExecutionOptions(t.Context(), client.UpdateWorkflowExecutionOptionsRequest{
			WorkflowId: owner,
			WorkflowExecutionOptionsChanges: client.WorkflowExecutionOptionsChanges{
				VersioningOverride: &client.VersioningOverrideChange{Value: o},
			},
		})
		must(t, err)
	}
	pin(&client.PinnedVersioningOverride{Version: worker.WorkerDeploymentVersion{DeploymentName: "keyorch", BuildID: "v1.0.0"}})
	w.worker.Kill()
	w.worker = w.versioned("v2.0.0")
	w.becomes(c, "v2.0.0")
	before := w.record("dc1-dc2").State
	time.Sleep(5 * time.Second) // nothing happens: that is what there is to see
	if now := w.record("dc1-dc2").State; now.Phase == link.Steady {
		t.Errorf("it went on from %+v to %+v", before, now)
	}
	pin(nil)
	ended(0)
	w.settled("dc1-dc2", before.To.Epoch)
}
