package wiring

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/notify"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/workflows"
)

// notifying is the duty of the worker that tells webhooks.
const notifying = "notify"

// notify tells webhooks what there is to tell, while no other worker does, until ctx ends.
func (w Worker) notify(ctx context.Context, shown watched) {
	for ctx.Err() == nil {
		err := w.Store.Lead(ctx, notifying, func(ctx context.Context) error {
			if err := shown.CatchUp(ctx); err != nil { // what is old news must not be told as over
				return err
			}
			notify.Run(ctx, notify.Config{
				View: noticed{shown}, Outbox: outbox{w.Store}, Secrets: notify.Directory(w.WebhookSecrets), Log: w.Logger, Observe: w.delivering(),
				More: []func(context.Context) ([]notify.Condition, error){
					func(context.Context) ([]notify.Condition, error) { return wanted(shown.View, time.Now()), nil },
					w.auditBroken,
				},
			})
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.Logger.WarnContext(ctx, "webhooks are told nothing for now", "error", err)
		}
		again := time.NewTimer(notifyAgain)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
		}
	}
}

// wanted is what there is to tell of requests for approvals. It is looked at every two seconds,
// so it comes from the view: plans of many links are large.
func wanted(view *store.View, now time.Time) []notify.Condition {
	rules := view.Rules()
	var out []notify.Condition
	for _, asked := range view.AllAsked() {
		d := asked.Decide(rules, now)
		due := approval.Notices(asked.Request, approval.Asking(rules.Rules, asked.Request.Plan), d, now)
		if len(due) > 0 {
			out = append(out, notify.ApprovalConditions(asked.Request.ID(), strings.Join(asked.Request.Plan.Words(), " "), due)...)
		}
	}
	return out
}

// brokenFor is how long a break of the audit trail is told: the chain goes on behind it.
const brokenFor = 24 * time.Hour

// auditBroken is what there is to tell of the audit trail.
func (w Worker) auditBroken(ctx context.Context) ([]notify.Condition, error) {
	head, err := w.Store.Trail().Head(ctx)
	if err != nil || len(head.Breaks) == 0 {
		return nil, err
	}
	last := head.Breaks[len(head.Breaks)-1]
	if time.Since(last.At) > brokenFor {
		return nil, nil
	}
	return notify.AuditCondition(last.What, last.At), nil
}

// notifyAgain is how long a worker waits that may not write the outbox, as before its
// etcd was prepared for this version.
const notifyAgain = 30 * time.Second

// noticed is the store's view as notifications see it.
type noticed struct{ watched }

func (v noticed) Subscribe(ids []keychain.LinkID) notify.Subscription {
	return v.watched.Subscribe(ids)
}

// delivering feeds the metrics of a worker, if there are any.
func (w Worker) delivering() notify.Observer {
	if w.Metrics == nil {
		return notify.Observer{}
	}
	return notify.Observer{Attempted: w.Metrics.Notified, Dropped: w.Metrics.NotifyDropped, Standing: w.Metrics.NotifyStanding}
}

// outbox is the store as notifications see it.
type outbox struct{ store *store.Store }

// Read implements notify.Outbox.
func (o outbox) Read(ctx context.Context) ([]notify.Document, int64, error) {
	documents, guard, err := o.store.Outbox(ctx)
	out := make([]notify.Document, len(documents))
	for i, d := range documents {
		out[i] = notify.Document(d)
	}
	return out, guard, err
}

// Write implements notify.Outbox. What was given up stands in the trail.
func (o outbox) Write(ctx context.Context, c notify.Change) (int64, error) {
	out := store.OutboxChange{Head: c.Head, Guard: c.Guard, Delete: c.Delete}
	for _, d := range c.Put {
		out.Put = append(out.Put, store.Document(d))
	}
	for _, d := range c.Dropped {
		e := d.Notice.Event
		out.Records = append(out.Records, audit.Record{Kind: audit.Refusal, Verb: "notify", Link: e.Link, Node: e.Node, Site: e.Site, Campaign: e.Campaign,
			Approval: e.Approval, Reason: d.Reason, Outcome: "dropped",
			Details: map[string]string{"webhook": d.Notice.Webhook, "event": e.Type(), "id": e.ID}})
	}
	return o.store.WriteOutbox(ctx, out)
}

// webhooks tries webhooks for workflows.
func (w Worker) webhooks(view *store.View) workflows.Trier {
	return trier{view: view, secrets: notify.Directory(w.WebhookSecrets)}
}

type trier struct {
	view    *store.View
	secrets notify.Directory
}

// Try implements workflows.Trier.
func (t trier) Try(ctx context.Context, names []string, by string) ([]workflows.Tried, error) {
	if err := t.view.CatchUp(ctx); err != nil { // it may have been declared a moment ago
		return nil, err
	}
	got, err := notify.Try(ctx, t.secrets, t.view.Topology(), names, by, time.Now())
	out := make([]workflows.Tried, len(got))
	for i, a := range got {
		out[i] = workflows.Tried{Webhook: a.Webhook, Format: string(a.Format), Host: a.Host, ID: a.ID, Status: a.Status, Took: a.Took, Said: a.Said, Error: a.Error}
	}
	return out, err
}

// TryWebhooks has a worker send test events to the webhooks named, or to all, and gives
// what came back. Faults: Invalid for one that is not declared, Unknown when no worker has
// done it in time, and Unavailable when Temporal does not answer.
func (c Campaigns) TryWebhooks(ctx context.Context, names []string, by string) ([]workflows.Tried, error) {
	id := fmt.Sprintf("notify-test-%d", time.Now().UnixNano())
	var out []workflows.Tried
	run, err := c.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue, WorkflowExecutionTimeout: tryingTime},
		workflows.TryWebhooks, workflows.TryRequest{Webhooks: names, By: by})
	if err == nil {
		err = run.Get(ctx, &out)
	}
	said, late := new(temporal.ApplicationError), new(temporal.TimeoutError)
	switch {
	case err == nil:
		return out, nil
	case errors.As(err, &said):
		return nil, fault.New(fault.ParseKind(said.Type()), "%s", said.Message())
	case errors.As(err, &late), ctx.Err() != nil:
		return nil, fault.New(fault.Unknown, "wait for %s: no worker has answered: is one running?", id)
	}
	return nil, fault.New(fault.Unavailable, "start workflow %s: temporal does not answer", id)
}

// tryingTime is how long a test may wait for a worker.
const tryingTime = 90 * time.Second
