package notify

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// Config is what notifications are made of.
type Config struct {
	View   View
	Outbox Outbox
	// Secrets is where the worker keeps the secrets of webhooks; empty: nowhere.
	Secrets Directory
	Log     *slog.Logger
	Observe Observer
	// More are conditions that do not come from the view: those of the audit trail and of
	// approvals. After an error nothing is told, or what is not known were told as over.
	More []func(ctx context.Context) ([]Condition, error)
}

const (
	// lookEvery is how often time alone is looked at, and settleBefore how long changes
	// are collected: what comes and goes within that is no event.
	lookEvery    = 2 * time.Second
	settleBefore = 300 * time.Millisecond
	// maxWaiting is how many notices may wait for one receiver, and atOnce how many are
	// put into the outbox in one transaction.
	maxWaiting = 1000
	atOnce     = 200
	// again is how long to wait after the outbox could not be read or written.
	again = time.Second
)

// Run tells what there is to tell until ctx ends. One worker does at a time; a second one
// is found out by the guard of the outbox, and tells nothing.
func Run(ctx context.Context, c Config) {
	for ctx.Err() == nil {
		s := &session{Config: c, couriers: map[string]*route{}}
		err := s.run(ctx)
		s.stop()
		if ctx.Err() == nil {
			c.Log.WarnContext(ctx, "notifications begin anew", "error", err)
			sleep(ctx, again)
		}
	}
}

// session is from one reading of the outbox to the next.
type session struct {
	Config
	stored   Stored
	guard    int64
	gathered *gatherer // nil while nobody is to be told
	couriers map[string]*route

	mu   sync.Mutex // of what couriers ask for
	told map[string]Told
}

// route is a courier at work.
type route struct {
	*courier
	end  context.CancelFunc
	over chan struct{}
}

func (s *session) run(ctx context.Context) error {
	documents, guard, err := s.Outbox.Read(ctx)
	if err != nil {
		return err
	}
	s.stored, s.guard = Decode(documents), guard
	for _, key := range s.stored.Broken {
		s.Log.WarnContext(ctx, "a document of the outbox cannot be read, and is deleted", "key", key)
	}
	s.remember()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		more, err := s.turn(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		var changed <-chan struct{}
		if s.gathered != nil {
			changed = s.gathered.sub.Changed()
		}
		select {
		case <-changed:
			if !sleep(ctx, settleBefore) {
				return ctx.Err()
			}
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) stop() {
	for _, r := range s.couriers {
		r.end()
	}
	for _, r := range s.couriers {
		<-r.over
	}
	if s.gathered != nil {
		s.gathered.close()
	}
	if s.Observe.Standing != nil {
		s.Observe.Standing(nil, nil) // whoever comes next tells
	}
}

// remember lets couriers see what was told.
func (s *session) remember() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = maps.Clone(s.stored.Memory.Told)
}

// burning is what a webhook was told and is not over.
func (s *session) burning(name string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Event
	for _, key := range slices.Sorted(maps.Keys(s.told)) {
		if t := s.told[key]; t.Over.IsZero() && !t.Event.Momentary && slices.Contains(t.To, name) {
			out = append(out, t.Event.named(t.First))
		}
	}
	return out
}

// turn looks once, and says whether there is more to tell at once.
func (s *session) turn(ctx context.Context) (more bool, err error) {
	for name, r := range s.couriers {
		_, s.stored.Receivers[name] = r.status()
	}
	t := s.View.Topology()
	hooks := active(t, s.stored.Receivers)
	if len(hooks) == 0 && len(s.stored.Memory.Told) == 0 && len(s.stored.Memory.Since) == 0 && len(s.stored.Queue) == 0 {
		if s.gathered != nil {
			s.gathered.close()
			s.gathered = nil
		}
		return false, nil
	}
	now := time.Now().UTC()
	if s.gathered == nil {
		s.gathered = newGatherer(s.View, now)
	}
	room := s.route(ctx, hooks)
	conditions := Conditions(s.gathered.facts(now), func(id keychain.LinkID) string { return s.gathered.say(id, now) })
	for _, of := range s.More {
		more, err := of(ctx)
		if err != nil {
			return false, err
		}
		conditions = append(conditions, more...)
	}
	d := Next(now, conditions, s.stored.Memory, hooks, room)
	if err := s.write(ctx, d, t.Webhooks); err != nil {
		return false, err
	}
	s.report()
	return len(d.Queue) >= share(hooks), nil
}

// route sees to it that each webhook has a courier as it is declared, and gives how much
// room there is for each.
func (s *session) route(ctx context.Context, hooks []topology.Webhook) map[string]int {
	wanted := map[string]topology.Webhook{}
	for _, h := range hooks {
		wanted[h.Name] = h
	}
	for name, r := range s.couriers {
		h, still := wanted[name]
		if still && same(h, r.hook) {
			continue
		}
		r.end()
		<-r.over
		s.stored.Queue[name] = r.left()
		_, s.stored.Receivers[name] = r.status()
		delete(s.couriers, name)
	}
	room := map[string]int{}
	for name, h := range wanted {
		r, there := s.couriers[name]
		if !there {
			if s.stored.Receivers[name].Gone != "" { // it has been declared otherwise since
				s.stored.Receivers[name] = Receiver{}
			}
			r = s.begin(ctx, h)
			s.couriers[name] = r
			delete(s.stored.Queue, name)
		}
		waiting, _ := r.status()
		room[name] = min(share(hooks), max(0, maxWaiting-waiting))
	}
	return room
}

// share is how many notices for each webhook go into one transaction.
func share(hooks []topology.Webhook) int { return max(1, atOnce/max(1, len(hooks))) }

func (s *session) begin(ctx context.Context, h topology.Webhook) *route {
	p := parts{outbox: s.Outbox, secrets: s.Secrets, log: s.Log, observe: s.Observe, now: time.Now}
	ctx, end := context.WithCancel(ctx)
	r := &route{courier: newCourier(p, h, s.stored.Queue[h.Name], s.stored.Receivers[h.Name], func() []Event { return s.burning(h.Name) }),
		end: end, over: make(chan struct{})}
	go func() {
		defer close(r.over)
		r.run(ctx)
	}()
	return r
}

func same(a, b topology.Webhook) bool {
	return likeness(a) == likeness(b) && a.GiveUp == b.GiveUp
}

// write writes a decision, and what else there is to clear away, and hands the notices to
// their couriers.
func (s *session) write(ctx context.Context, d Decision, declared []topology.Webhook) error {
	c := Change{Guard: s.guard, Delete: s.leftovers(declared)}
	if d.Empty() && len(c.Delete) == 0 {
		return nil
	}
	for i, n := range d.Queue {
		s.stored.Numbers[n.Webhook]++
		d.Queue[i].Number = s.stored.Numbers[n.Webhook]
	}
	if d.Since == nil {
		d.Since = s.stored.Memory.Since
	}
	maps.DeleteFunc(s.stored.Numbers, func(name string, _ uint64) bool { _, there := d.Since[name]; return !there })
	first, err := encodeHead(d.Since, s.stored.Numbers)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write the outbox")
	}
	c.Head = first.Value
	add := func(doc Document, err error) {
		if err != nil {
			s.Log.ErrorContext(ctx, "cannot write an event", "error", err)
			return
		}
		c.Put = append(c.Put, doc)
	}
	for _, n := range d.Queue {
		add(noticeDocument(n))
	}
	for _, t := range d.Put {
		add(toldDocument(t))
	}
	for _, key := range d.Forget {
		c.Delete = append(c.Delete, inTold+key)
	}
	c.Delete = slices.DeleteFunc(c.Delete, func(key string) bool { // a transaction has no key twice
		return key == headKey || slices.ContainsFunc(c.Put, func(doc Document) bool { return doc.Key == key })
	})
	if s.guard, err = s.Outbox.Write(ctx, c); err != nil {
		return err
	}
	s.keep(d)
	return nil
}

// keep takes in what was written.
func (s *session) keep(d Decision) {
	m := &s.stored.Memory
	m.Since, s.stored.Broken = d.Since, nil
	for _, t := range d.Put {
		m.Told[t.Event.Key] = t
	}
	for _, key := range d.Forget {
		delete(m.Told, key)
	}
	s.remember()
	for _, n := range d.Queue {
		s.couriers[n.Webhook].add(n)
	}
	clear(s.stored.Queue)
}

// leftovers are keys that nothing stands for any more: those of webhooks that are
// declared no more or are disabled, and what cannot be read.
func (s *session) leftovers(declared []topology.Webhook) []string {
	const most = 3000
	keys := slices.Clone(s.stored.Broken)
	there := func(name string) bool {
		return slices.ContainsFunc(declared, func(h topology.Webhook) bool { return h.Name == name && !h.Disabled })
	}
	for name, notices := range s.stored.Queue {
		for _, n := range notices {
			if !there(name) {
				keys = append(keys, queueKey(name, n.Number))
			}
		}
	}
	for name := range s.stored.Receivers {
		if !there(name) {
			keys = append(keys, inReceivers+name)
			delete(s.stored.Receivers, name)
		}
	}
	return keys[:min(len(keys), most)]
}

// report tells how deliveries stand.
func (s *session) report() {
	if s.Observe.Standing == nil {
		return
	}
	waiting, failing := map[topology.Format]int{}, map[topology.Format]int{}
	for _, r := range s.couriers {
		n, how := r.status()
		waiting[r.hook.Format] += n
		if !how.Failing.IsZero() {
			failing[r.hook.Format]++
		}
	}
	s.Observe.Standing(waiting, failing)
}
