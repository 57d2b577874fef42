package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// TaskQueue is where workers look for work.
const TaskQueue = "keyorch"

// heartbeat is how long an activity may be silent before another worker takes
// it over: the time that a killed worker costs. Workers that drive thousands of
// links on a busy machine are late by seconds.
const heartbeat = 8 * time.Second

// HeartbeatEvery is how often a worker should send heartbeats at most. The SDK's
// own measure, four fifths of the time allowed, leaves no room for one that is
// late.
const HeartbeatEvery = 2 * time.Second

// awaitFor bounds one Await, so that a link held for weeks costs a few events
// an hour.
const awaitFor = time.Hour

// withServers is for activities that only talk to the store and the custodian:
// they are repeated until those answer.
func withServers(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 2 * time.Minute,
		HeartbeatTimeout:    heartbeat,
		RetryPolicy:         untilItAnswers(),
	})
}

// watching is for Await, which waits for nodes.
func watching(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: awaitFor + time.Minute,
		HeartbeatTimeout:    heartbeat,
		RetryPolicy:         untilItAnswers(),
	})
}

func untilItAnswers() *temporal.RetryPolicy {
	return &temporal.RetryPolicy{
		InitialInterval:    200 * time.Millisecond,
		BackoffCoefficient: 2,
		MaximumInterval:    10 * time.Second,
	}
}
