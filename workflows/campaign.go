package workflows

import (
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/campaign"
)

// CampaignRequest is the input of Campaign.
type CampaignRequest struct {
	// Name is the campaign's; empty for one that is made from the workflow's ID, as
	// a schedule's runs have it.
	Name      string             `json:"name,omitempty"`
	Kind      campaign.Kind      `json:"kind"`
	Policy    string             `json:"policy,omitempty"`
	Selection campaign.Selection `json:"selection"`
	By        string             `json:"by,omitempty"`
	Reason    string             `json:"reason,omitempty"`
	// IgnoreWindows begins and switches links though their windows are closed.
	IgnoreWindows bool `json:"ignoreWindows,omitempty"`
	// Approval is the request for approvals on whose strength it is to run, and About whom
	// it shuts out, in words, for a compromise.
	Approval string   `json:"approval,omitempty"`
	About    []string `json:"about,omitempty"`
	// Retried is how many batches an earlier run of the same campaign has added to
	// try links again.
	Retried int `json:"retried,omitempty"`
}

// The names under which Campaign is asked, beside AbortUpdate (AbortRequest in).
// All answer with nothing once what was asked is written down.
const (
	// PauseUpdate lets nothing more begin; what has begun goes on.
	PauseUpdate = "pause"
	// ResumeUpdate goes on after a pause.
	ResumeUpdate = "resume"
	// PromoteUpdate skips what is left of the waiting in this wave and after it.
	PromoteUpdate = "promote"
	// RetryUpdate gives another key to the links that are held before the switch,
	// were aborted or refused.
	RetryUpdate = "retry"
)

// Ask is the input of the Updates of Campaign.
type Ask struct {
	Reason string `json:"reason,omitempty"`
}

// Campaign rotates a selection of links in waves, each of which is batches driven
// by Rotate side by side. campaign.Next decides every step; this loop brings it
// tallies and what operators ask, and does what it says. The truth is in the
// store: a campaign that is lost leaves its batches running, and the next one
// adopts their links. Cancelling it means Abort.
func Campaign(ctx workflow.Context, in CampaignRequest) (campaign.Record, error) {
	if in.Name == "" {
		in.Name = CampaignName(workflow.GetInfo(ctx).WorkflowExecution.ID)
	}
	c := newFleetRun(ctx, in)
	if err := c.answerAsks(); err != nil {
		return campaign.Record{}, err
	}
	var f *Fleet
	err := workflow.ExecuteActivity(withServers(c.ctx), f.PlanCampaign, in).Get(c.ctx, &c.record)
	if err != nil {
		return campaign.Record{}, err
	}
	for {
		if err := c.step(); err != nil {
			return c.record, err
		}
		if c.record.State == campaign.Ended {
			return c.record, c.answerRest()
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return c.record, c.continueAsNew()
		}
		if err := c.wait(); err != nil {
			return c.record, err
		}
	}
}

// CampaignName is a campaign's name made of its workflow's ID, in which a schedule
// writes the time.
func CampaignName(id string) string {
	return strings.NewReplacer(":", "", ".", "-").Replace(strings.ToLower(id))
}

// fleetRun is a campaign in the memory of its workflow.
type fleetRun struct {
	ctx    workflow.Context // goes on after a cancellation
	outer  workflow.Context // ends with one
	in     CampaignRequest
	record campaign.Record
	dirty  bool // the record says more than what is written down

	asks      campaign.Asks
	switched  bool             // an abort takes back what has switched, too
	approval  string           // on whose strength it does
	calls     workflow.Channel // of *ask
	open      []*ask           // to be answered when the record is written
	following workflow.Future  // of Follow, while it runs
	forget    workflow.CancelFunc
	wake      time.Time
	cancelled bool
	idle      bool // no batch runs
}

// ask is an Update on its way to the loop, which alone changes the record.
type ask struct {
	kind   string
	reason string
	staged bool
	// approval is the request for approvals of an abort.
	approval string
	err      error
	done     bool
}

func newFleetRun(ctx workflow.Context, in CampaignRequest) *fleetRun {
	inner, _ := workflow.NewDisconnectedContext(ctx)
	return &fleetRun{ctx: inner, outer: ctx, in: in, calls: workflow.NewBufferedChannel(inner, maxCalls)}
}

// step lets campaign.Next decide, writes that down, and does it.
func (c *fleetRun) step() error {
	if c.outer.Err() != nil && !c.cancelled {
		c.cancelled, c.asks.Abort, c.asks.Reason = true, true, "the workflow was cancelled"
	}
	c.asks.Idle = c.idle
	d := campaign.Next(c.record, workflow.Now(c.ctx).UTC(), c.asks)
	c.asks, c.wake, c.record = campaign.Asks{}, d.Wake, d.Record
	if d.Changed || c.dirty {
		if err := c.save(); err != nil {
			return err
		}
	}
	var f *Fleet
	if n := len(d.Launch); n > 0 {
		q := Launch{
			Campaign: c.in.Name, Urgent: c.in.Kind.Urgent(), IgnoreWindows: c.in.IgnoreWindows, First: d.Launch[0], Count: n,
			Intent: intentOf(c.in.Kind),
		}
		if err := workflow.ExecuteActivity(withServers(c.ctx), f.LaunchBatches, q).Get(c.ctx, nil); err != nil {
			return err
		}
		c.news()
	}
	if d.Abort {
		q := Halt{Campaign: c.in.Name, Count: c.launched(), Retried: c.retried(), Reason: c.record.Reason, Switched: c.switched, Approval: c.approval}
		if err := workflow.ExecuteActivity(withServers(c.ctx), f.HaltBatches, q).Get(c.ctx, nil); err != nil {
			return err
		}
	}
	for _, a := range c.open {
		a.done = true
	}
	c.open = nil
	return nil
}

// intentOf is what the batches of a campaign are for.
func intentOf(k campaign.Kind) Intent {
	if k == campaign.Retry {
		return ToRenew
	}
	return ToRotate
}

func (c *fleetRun) save() error {
	var f *Fleet
	c.dirty = false
	return workflow.ExecuteActivity(withServers(c.ctx), f.SaveCampaign, c.record).Get(c.ctx, &c.record.Revision)
}

// launched is how many batches have begun.
func (c *fleetRun) launched() int {
	n := 0
	for _, w := range c.record.Waves {
		if w.Launched > 0 {
			n = w.First + w.Launched
		}
	}
	return n
}

// retried is the batches of retries: they are numbered after those of the waves.
func (c *fleetRun) retried() Span {
	s := Span{Count: c.in.Retried}
	for _, w := range c.record.Waves {
		s.First += w.Count
	}
	return s
}

// follow keeps one Follow running over everything that has begun.
func (c *fleetRun) follow() {
	if c.following != nil || c.launched() == 0 {
		return
	}
	q := FollowRequest{Campaign: c.in.Name, Wait: c.record.Wait, Retried: c.retried(), Idle: c.idle}
	for _, w := range c.record.Waves {
		q.Waves = append(q.Waves, Followed{First: w.First, Count: w.Launched, Begun: w.Begun, Known: w.Tally})
	}
	ctx, cancel := workflow.WithCancel(watching(c.ctx))
	var f *Fleet
	c.following, c.forget = workflow.ExecuteActivity(ctx, f.Follow, q), cancel
}

// news is that more has begun than Follow knows of.
func (c *fleetRun) news() {
	c.unfollow()
	c.idle = false
}

// unfollow drops what Follow has to say.
func (c *fleetRun) unfollow() {
	if c.forget != nil {
		c.forget()
	}
	c.following, c.forget = nil, nil
}

// wait waits for whatever comes first and takes it in.
func (c *fleetRun) wait() error {
	c.follow()
	var err error
	s := workflow.NewSelector(c.ctx)
	if c.following != nil {
		s.AddFuture(c.following, func(f workflow.Future) {
			var counted Counted
			c.following = nil
			if err = f.Get(c.ctx, &counted); err == nil {
				c.recount(counted.Waves)
				c.idle = counted.Idle
			}
		})
	}
	timing, stop := workflow.WithCancel(c.ctx)
	defer stop()
	if !c.wake.IsZero() {
		// Follow counts what has waited too long, so the clock is the later one.
		s.AddFuture(workflow.NewTimer(timing, max(0, c.wake.Sub(workflow.Now(c.ctx)))+time.Millisecond), func(workflow.Future) {})
	}
	s.AddReceive(c.calls, func(ch workflow.ReceiveChannel, _ bool) {
		var a *ask
		ch.Receive(c.ctx, &a)
		err = c.take(a)
	})
	if !c.cancelled {
		s.AddReceive(c.outer.Done(), func(workflow.ReceiveChannel, bool) {}) // step sees it
	}
	s.Select(c.ctx)
	return err
}

func (c *fleetRun) recount(tallies []campaign.Tally) {
	for i, t := range tallies {
		if i < len(c.record.Waves) && t != c.record.Waves[i].Tally {
			c.dirty = true
		}
	}
	c.record = c.record.Recount(tallies)
}

// continueAsNew starts over with an empty history; everything is in the store. What
// has come meanwhile is done first, and after that the campaign may have ended.
func (c *fleetRun) continueAsNew() error {
	for {
		var a *ask
		if c.calls.ReceiveAsync(&a) {
			if err := c.take(a); err != nil {
				return err
			}
		}
		if err := c.step(); err != nil { // it sees a cancellation, too
			return err
		}
		if c.calls.Len() > 0 {
			continue
		}
		err := workflow.Await(c.ctx, func() bool { return c.calls.Len() > 0 || workflow.AllHandlersFinished(c.ctx) })
		if err != nil {
			return err
		}
		if c.calls.Len() == 0 && (c.outer.Err() == nil || c.cancelled) {
			c.unfollow()
			return workflow.NewContinueAsNewError(c.ctx, Campaign, c.in)
		}
	}
}
