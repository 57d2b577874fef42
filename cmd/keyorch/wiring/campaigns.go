package wiring

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/sealing"
	"github.com/keyorch/keyorch/workflows"
)

// Campaigns is Temporal as the workflows and the verbs see it. Keys may be nil.
type Campaigns struct {
	Client client.Client
	Keys   *sealing.Keys
}

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

// Start implements workflows.Starter: one workflow at a time runs under an ID. Where
// payloads are sealed, an ID that has the name of a link in it is replaced by one that
// tells nothing: IDs are in clear.
func (c Campaigns) Start(ctx context.Context, id string, in workflows.Batch) error {
	if c.Keys.Seals() && slices.ContainsFunc(in.Links, func(l keychain.LinkID) bool { return strings.Contains(id, string(l)) }) {
		kind, _, _ := strings.Cut(id, "-") // mend or rejoin
		id = kind + "-" + c.Keys.Name(id)
	}
	return c.start(ctx, id, workflows.Rotate, in)
}

// StartCampaign starts a campaign under its name.
func (c Campaigns) StartCampaign(ctx context.Context, in workflows.CampaignRequest) error {
	return c.start(ctx, in.Name, workflows.Campaign, in)
}

func (c Campaigns) start(ctx context.Context, id string, workflow, in any) error {
	_, err := c.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflow, in)
	if already := new(serviceerror.WorkflowExecutionAlreadyStarted); errors.As(err, &already) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, "start workflow %s: temporal does not answer", id)
	}
	return nil
}

// abortTime is how long a workflow may take to answer a request to abort.
const abortTime = 20 * time.Second

// Abort implements workflows.Batches.
func (c Campaigns) Abort(ctx context.Context, id string, q workflows.AbortRequest) error {
	var answer workflows.AbortAnswer
	err := c.Ask(ctx, abortTime, id, workflows.AbortUpdate, q, &answer)
	if fault.Is(err, fault.Refused) {
		return nil // there is nothing left to abort
	}
	return err
}

// Ask sends an Update to a workflow and waits for its answer. A nil answer drops
// it. Faults: the validator's own (Refused), Refused when no such workflow runs,
// Unavailable when nobody answers within the time given.
func (c Campaigns) Ask(ctx context.Context, within time.Duration, id, update string, q, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	handle, err := c.Client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: update, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{q},
	})
	if err == nil {
		err = handle.Get(ctx, answer)
	}
	said, gone := new(temporal.ApplicationError), new(serviceerror.NotFound)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return fault.New(fault.ParseKind(said.Type()), "%s", said.Message())
	case errors.As(err, &gone):
		return fault.New(fault.Refused, "ask %s: it has ended", id)
	}
	return fault.New(fault.Unavailable, "ask %s: no worker answers; one that comes back may still carry it out", id)
}
