package notify

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// courier brings the notices of one webhook to its receiver, one after the other.
type courier struct {
	parts
	hook topology.Webhook
	// burning is what the receiver was told and is not over: Alertmanager is told again.
	burning func() []Event
	wake    chan struct{}

	mu       sync.Mutex
	queue    []Notice
	receiver Receiver
}

// parts is what couriers share.
type parts struct {
	outbox  Outbox
	secrets Directory
	log     *slog.Logger
	observe Observer
	now     func() time.Time
	first   time.Duration // the first pause after a failure; zero is firstPause
}

const (
	// firstPause and lastPause are how long a courier waits after a failure, with chance.
	firstPause = time.Second
	lastPause  = 5 * time.Minute
	// burnEvery is how often Alertmanager is told what burns.
	burnEvery = time.Minute
	// burnAtOnce is how many alerts go into one request.
	burnAtOnce = 200
	// settleTime is how long a courier that stops tries to write down what was taken.
	settleTime = 5 * time.Second
)

func (p parts) newPause() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{InitialInterval: cmp.Or(p.first, firstPause), RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: lastPause}
	b.Reset()
	return b
}

func newCourier(p parts, h topology.Webhook, queue []Notice, r Receiver, burning func() []Event) *courier {
	return &courier{parts: p, hook: h, queue: queue, receiver: r, burning: burning, wake: make(chan struct{}, 1)}
}

// add puts a notice behind the others.
func (c *courier) add(n Notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, n)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// status is how many wait, and how it goes.
func (c *courier) status() (waiting int, r Receiver) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue), c.receiver
}

// left is what has not been taken.
func (c *courier) left() []Notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.queue)
}

func (c *courier) next() (Notice, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return Notice{}, false
	}
	return c.queue[0], true
}

// run delivers until ctx ends, or the receiver says that it is gone.
func (c *courier) run(ctx context.Context) {
	pause := c.newPause()
	var burn <-chan time.Time
	if c.hook.Format == topology.Alertmanager {
		tick := time.NewTicker(burnEvery)
		defer tick.Stop()
		burn = tick.C
	}
	for {
		n, waiting := c.next()
		if !waiting {
			select {
			case <-c.wake:
			case <-burn:
				c.burn(ctx)
			case <-ctx.Done():
				return
			}
			continue
		}
		wait := c.deliver(ctx, n, pause)
		_, r := c.status()
		if ctx.Err() != nil || r.Gone != "" || wait > 0 && !sleep(ctx, wait) {
			return
		}
	}
}

// deliver makes one attempt at a notice and gives how long to wait before the next.
func (c *courier) deliver(ctx context.Context, n Notice, pause *backoff.ExponentialBackOff) time.Duration {
	now := c.now()
	if over := n.Queued.Add(c.giveUp()); now.After(over) {
		_, r := c.status()
		c.drop(ctx, []Notice{n}, "it was not taken within "+c.giveUp().String()+": "+r.Error)
		return 0
	}
	a := Send(ctx, c.secrets, c.hook, n.Event, now)
	c.observe.attempted(c.hook.Format, a.Err)
	switch {
	case a.Err == nil:
		pause.Reset()
		c.delivered(ctx, n, now)
		return 0
	case ctx.Err() != nil:
		return 0
	case a.Gone:
		c.gone(ctx, a)
		return 0
	case fault.Is(a.Err, fault.Refused):
		c.drop(ctx, []Notice{n}, a.Err.Error())
		return 0
	}
	c.failed(ctx, a, now)
	wait := max(pause.NextBackOff(), a.Pause)
	if left := n.Queued.Add(c.giveUp()).Sub(now); left < wait { // and then it is dropped
		wait = max(left, 0) + time.Millisecond
	}
	return wait
}

func (c *courier) giveUp() time.Duration {
	if c.hook.GiveUp > 0 {
		return c.hook.GiveUp
	}
	return topology.DefaultGiveUp
}

func (c *courier) delivered(ctx context.Context, n Notice, now time.Time) {
	c.observe.delivered(c.hook.Format)
	c.log.InfoContext(ctx, "told a webhook", "webhook", c.hook.Name, "event", n.Event.Type(), "subject", n.Event.Subject, "id", n.Event.ID)
	c.settle(ctx, []Notice{n}, "", func(r *Receiver) {
		r.Delivered, r.Last, r.Failing, r.Error = r.Delivered+1, now, time.Time{}, ""
	})
}

// failed notes that the receiver takes nothing, when that is news.
func (c *courier) failed(ctx context.Context, a Answer, now time.Time) {
	_, r := c.status()
	if why := a.Err.Error(); r.Error != why {
		c.log.WarnContext(ctx, "cannot tell a webhook, and try again", "webhook", c.hook.Name, "error", why)
		c.settle(ctx, nil, "", func(r *Receiver) {
			if r.Failing.IsZero() {
				r.Failing = now
			}
			r.Error = why
		})
	}
}

func (c *courier) drop(ctx context.Context, notices []Notice, why string) {
	for _, n := range notices {
		c.observe.dropped(c.hook.Format)
		c.log.ErrorContext(ctx, "gave up an event", "webhook", c.hook.Name, "event", n.Event.Type(), "subject", n.Event.Subject, "id", n.Event.ID, "reason", why)
	}
	c.settle(ctx, notices, why, func(r *Receiver) { r.Dropped, r.Error = r.Dropped+uint64(len(notices)), why })
}

// gone drops everything: the receiver wants nothing more.
func (c *courier) gone(ctx context.Context, a Answer) {
	c.settle(ctx, nil, "", func(r *Receiver) { r.Gone = likeness(c.hook) })
	for part := range slices.Chunk(c.left(), burnAtOnce) {
		c.drop(ctx, part, a.Err.Error())
	}
}

// settle writes down what became of notices, which are then not tried again. While the
// outbox is away it waits: who was told must not be told again.
func (c *courier) settle(ctx context.Context, done []Notice, dropped string, change func(*Receiver)) {
	c.mu.Lock()
	change(&c.receiver)
	r := c.receiver
	c.queue = slices.DeleteFunc(c.queue, func(n Notice) bool {
		return slices.ContainsFunc(done, func(d Notice) bool { return d.Number == n.Number })
	})
	c.mu.Unlock()
	d, err := receiverDocument(c.hook.Name, r)
	if err != nil {
		c.log.ErrorContext(ctx, "cannot write down how a webhook stands", "webhook", c.hook.Name, "error", err)
		return
	}
	ch := Change{Put: []Document{d}}
	for _, n := range done {
		ch.Delete = append(ch.Delete, queueKey(n.Webhook, n.Number))
		if dropped != "" {
			ch.Dropped = append(ch.Dropped, Dropped{Notice: n, Reason: dropped})
		}
	}
	pause := c.newPause()
	for {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		_, err := c.outbox.Write(call, ch)
		cancel()
		if err == nil {
			return
		}
		c.log.WarnContext(ctx, "cannot write down how a webhook stands", "webhook", c.hook.Name, "error", err)
		if !fault.Of(err).Retryable() || !sleep(ctx, pause.NextBackOff()) {
			return
		}
	}
}

// burn tells Alertmanager what burns: it takes an alert that nobody speaks of for
// resolved, and forgets some when it restarts.
func (c *courier) burn(ctx context.Context) {
	now := c.now()
	for events := range slices.Chunk(c.burning(), burnAtOnce) {
		a := post(ctx, c.secrets, c.hook, now, func(s Secrets) (Message, error) { return encodeAlerts(s, events, now) })
		c.observe.attempted(c.hook.Format, a.Err)
		if a.Err != nil && ctx.Err() == nil {
			c.failed(ctx, a, now)
			return
		}
	}
	if _, r := c.status(); !r.Failing.IsZero() && ctx.Err() == nil {
		c.settle(ctx, nil, "", func(r *Receiver) { r.Failing, r.Error = time.Time{}, "" })
	}
}

// sleep waits, and says whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Observer is told of deliveries. Fields may be nil.
type Observer struct {
	Attempted func(topology.Format, error)
	Delivered func(topology.Format)
	Dropped   func(topology.Format)
	// Standing is told how many notices wait, and how many receivers take nothing.
	Standing func(waiting, failing map[topology.Format]int)
}

func (o Observer) attempted(f topology.Format, err error) {
	if o.Attempted != nil {
		o.Attempted(f, err)
	}
}

func (o Observer) delivered(f topology.Format) {
	if o.Delivered != nil {
		o.Delivered(f)
	}
}

func (o Observer) dropped(f topology.Format) {
	if o.Dropped != nil {
		o.Dropped(f)
	}
}
