// Package wiring puts keyorch together: it gives the workflows their store and
// custodian, the agents their devices, and runs both. Everything is wired by
// hand and nothing registers itself.
package wiring

import (
	"context"
	"errors"
	"log/slog"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/workflows"
)

// DialTemporal connects to a Temporal frontend. An empty address is
// "localhost:7233" and an empty namespace "default", as for Temporal's own
// tools. Faults: Unavailable when it does not answer before ctx ends.
func DialTemporal(ctx context.Context, address, namespace string, logger *slog.Logger) (client.Client, error) {
	if address == "" {
		address = client.DefaultHostPort
	}
	if namespace == "" {
		namespace = client.DefaultNamespace
	}
	c, err := client.DialContext(ctx, client.Options{
		HostPort: address, Namespace: namespace, Logger: log.NewStructuredLogger(logger),
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "connect to temporal: %s does not answer", address)
	}
	return c, nil
}

// Campaigns is Temporal as the workflows and the verbs see it.
type Campaigns struct{ Client client.Client }

// Running implements workflows.Runs.
func (c Campaigns) Running(ctx context.Context, owner string) (bool, error) {
	d, err := c.Client.DescribeWorkflowExecution(ctx, owner, "")
	if gone := new(serviceerror.NotFound); errors.As(err, &gone) {
		return false, nil
	}
	if err != nil {
		return false, fault.New(fault.Unavailable, "look up workflow %s: temporal does not answer", owner)
	}
	return d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// Start implements workflows.Starter: one workflow at a time runs under an ID.
func (c Campaigns) Start(ctx context.Context, id string, in workflows.Batch) error {
	_, err := c.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflows.Rotate, in)
	if already := new(serviceerror.WorkflowExecutionAlreadyStarted); errors.As(err, &already) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, "start workflow %s: temporal does not answer", id)
	}
	return nil
}
