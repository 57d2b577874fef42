package wiring

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/workflows"
)

// Deployment is the version that a worker is of, for Temporal. Temporal hands work to
// the version that is current, and a rotation under way moves to it with its next
// task: see docs/adr/0029.
type Deployment struct {
	// Name is that of all versions together; empty for a worker without versions.
	Name string
	// Build is the version.
	Build string
	// Downgrade lets an older version become current in place of a newer one.
	Downgrade bool
}

const (
	// claimEvery is how often a worker asks whether it may become the current version.
	claimEvery = time.Second
	// remindEvery is how often it says that it is not.
	remindEvery = time.Minute
)

// Check is Invalid for what Temporal would refuse.
func (d Deployment) Check() error {
	switch {
	case d.Name == "" && d.Downgrade:
		return fault.New(fault.Invalid, "--allow-downgrade: it is for a worker with --deployment")
	case d.Name == "":
		return nil
	case strings.ContainsAny(d.Name, ".:/ ") || strings.HasPrefix(d.Name, "__"):
		return fault.New(fault.Invalid, "--deployment: %q has a dot, a colon, a slash or a space in it, or begins with __", d.Name)
	case d.Build == "" || d.Build == "dev":
		return fault.New(fault.Invalid, "--deployment: this build has no version to tell it from others: say --build-id")
	}
	return nil
}

func (d Deployment) options() worker.DeploymentOptions {
	if d.Name == "" {
		return worker.DeploymentOptions{}
	}
	return worker.DeploymentOptions{
		UseVersioning: true, Version: worker.WorkerDeploymentVersion{DeploymentName: d.Name, BuildID: d.Build},
		// A pinned rotation would need workers of its version for as long as it is held,
		// which may be weeks, and a rolling update takes them away.
		DefaultVersioningBehavior: workflow.VersioningBehaviorAutoUpgrade,
	}
}

// claim makes the version of a worker that polls the current one, unless a newer one
// is, and returns when it is current or ctx has ended. Without a name it looks whether
// Temporal expects one.
func (d Deployment) claim(ctx context.Context, c *TemporalClient, log *slog.Logger) {
	if d.Name == "" {
		warnUnversioned(ctx, c, log)
		return
	}
	handle := c.WorkerDeploymentClient().GetHandle(d.Name)
	tick := time.NewTicker(claimEvery)
	defer tick.Stop()
	var reminded time.Time
	for {
		newer, done := d.tryClaim(ctx, handle, log)
		if done {
			return
		}
		if newer != "" && time.Since(reminded) >= remindEvery {
			reminded = time.Now()
			log.WarnContext(ctx, "this worker gets no work: a newer version is current. To go back for good, start it with --allow-downgrade, or run: "+
				"temporal worker deployment set-current-version --deployment-name "+d.Name+" --build-id "+d.Build, "version", d.Build, "current", newer)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tryClaim says which newer version is current, if one is, and whether nothing is left
// to do.
func (d Deployment) tryClaim(ctx context.Context, handle client.WorkerDeploymentHandle, log *slog.Logger) (newer string, done bool) {
	is, err := handle.Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	if err != nil {
		return "", false // Temporal hears of a deployment with the first poll
	}
	mine, known := summary(is.Info, d.Build)
	if !known {
		return "", false
	}
	if current := is.Info.RoutingConfig.CurrentVersion; current != nil {
		if current.BuildID == d.Build {
			return "", true
		}
		other, _ := summary(is.Info, current.BuildID)
		if !d.Downgrade && older(mine, other) {
			return current.BuildID, false
		}
	}
	// The token refuses this when somebody else has changed it meanwhile.
	_, err = handle.SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{BuildID: d.Build, ConflictToken: is.ConflictToken})
	if err != nil {
		log.DebugContext(ctx, "not the current version yet", "version", d.Build)
		return "", false
	}
	log.InfoContext(ctx, "this is the current version now", "deployment", d.Name, "version", d.Build)
	return "", true
}

func summary(in client.WorkerDeploymentInfo, build string) (client.WorkerDeploymentVersionSummary, bool) {
	for _, s := range in.VersionSummaries {
		if s.Version.BuildID == build {
			return s, true
		}
	}
	return client.WorkerDeploymentVersionSummary{}, false
}

// older reports whether a is an older version than b: by number where both have one,
// else by when Temporal first saw them.
func older(a, b client.WorkerDeploymentVersionSummary) bool {
	x, after, numbered := numberOf(a.Version.BuildID)
	y, afterY, both := numberOf(b.Version.BuildID)
	if !numbered || !both {
		return a.CreateTime.Before(b.CreateTime)
	}
	if x.EqualTo(y) {
		return after < afterY
	}
	return x.LessThan(y)
}

// numberOf reads a version such as v1.2.3, v1.2.3-rc.1, or v1.2.3-4-gdeadbee, which is
// four commits after v1.2.3.
func numberOf(build string) (v *version.Version, after int, ok bool) {
	if parts := strings.Split(build, "-"); len(parts) > 2 && strings.HasPrefix(parts[len(parts)-1], "g") {
		if n, err := strconv.Atoi(parts[len(parts)-2]); err == nil {
			build, after = strings.Join(parts[:len(parts)-2], "-"), n
		}
	}
	v, err := version.ParseSemantic(build)
	return v, after, err == nil
}

// warnUnversioned tells a worker without a version that Temporal has nothing for it.
func warnUnversioned(ctx context.Context, c *TemporalClient, log *slog.Logger) {
	q, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: c.Namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: workflows.TaskQueue}, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
	})
	if err != nil {
		return
	}
	if current := q.GetVersioningInfo().GetCurrentDeploymentVersion(); current != nil {
		log.WarnContext(ctx, "this worker gets no work: it has no version, and Temporal hands work to one. Start it with --deployment "+current.GetDeploymentName()+
			", or run: temporal worker deployment set-current-version --unversioned --deployment-name "+current.GetDeploymentName(), "current", current.GetBuildId())
	}
}
