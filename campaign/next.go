package campaign

import (
	"slices"
	"time"

	"github.com/keyorch/keyorch/topology"
)

// Decision is what a campaign does next. Whoever drives it writes Record if it
// has Changed, then does what Launch and Abort say, and asks Next again when
// there are new tallies, when somebody asks for something, and at Wake.
type Decision struct {
	// Record is the campaign from now on: its state with the reason, its wave, and
	// what has been launched, Launch included.
	Record  Record
	Changed bool
	// Launch are the numbers of the batches to begin now.
	Launch []int
	// Abort is set once, when every batch that runs is to be told to go back.
	Abort bool
	// Wake is when time alone changes the decision; zero when only news can.
	// Links become held with time as well: take the tallies anew then.
	Wake time.Time
	// Next is what happens next by itself, for people.
	Next string
}

// Begin is the record of a campaign that begins now: r with its name, kind,
// selection and so on, the waves of Batches, and the limits of p, which is the
// policy as Kind.Policy gives it. A policy without a Wait has the default.
func Begin(r Record, p topology.Policy, waves []WaveStatus, now time.Time) Record {
	r.Policy, r.Budget, r.Wait = p.Name, p.Budget, p.Wait
	if r.Wait <= 0 {
		r.Wait = topology.DefaultWait
	}
	r.State, r.Reason, r.Begun, r.Since = Running, "", now, now
	r.Wave, r.Waves, r.Tally = 0, slices.Clone(waves), Tally{}
	for _, w := range waves {
		r.Tally = r.Tally.Plus(w.Tally)
	}
	return r
}

// Recount is r with new tallies, one for each wave in its order.
func (r Record) Recount(waves []Tally) Record {
	r.Waves = slices.Clone(r.Waves)
	r.Tally = Tally{}
	for i := range r.Waves {
		if i < len(waves) {
			r.Waves[i].Tally = waves[i]
		}
		r.Tally = r.Tally.Plus(r.Waves[i].Tally)
	}
	return r
}

// Next decides what a campaign does, from its record with fresh tallies
// (Recount), the time, and what was asked. It is deterministic, changes nothing
// of r, and called again with its own result and no news it decides nothing new.
//
//   - Running: batches of the wave are launched, as many side by side as the
//     record allows. The wave is over when all are launched and every link is
//     settled, or Wait has passed since the last launch, or nothing runs any more,
//     or an operator promoted it. Then it soaks, and the next wave begins. What is
//     not settled when Wait has passed counts as failed.
//   - A budget that is spent pauses or aborts, as the policy says, while that can
//     still stop something. Otherwise the campaign ends, and its reason says so.
//   - Paused: nothing is launched and no wave begins. A wave that is over ends, and
//     its soak runs; after the last wave the campaign ends.
//   - Aborting: nothing is launched. It ends when no link is in flight or held, or
//     nothing runs any more, or Wait has passed.
//   - Ended: nothing. Links may still change their standing, as the tail.
func Next(r Record, now time.Time, asks Asks) Decision {
	r.Waves = slices.Clone(r.Waves)
	c := course{Decision: Decision{Record: r}, now: now, idle: asks.Idle}
	c.forget()
	c.obey(asks)
	c.spend()
	switch c.Record.State {
	case Running, Paused:
		c.advance()
	case Aborting:
		c.goBack()
	case Ended:
	}
	c.forget() // a launch gives what had run out of time another Wait
	c.Next = c.ahead()
	return c.Decision
}

// course is a decision that is being made.
type course struct {
	Decision
	now  time.Time
	idle bool
}

// to enters a state.
func (c *course) to(s State, reason string) {
	r := &c.Record
	r.State, r.Reason, r.Since, c.Changed = s, reason, c.now, true
	if s == Aborting {
		r.Aborted, c.Abort = true, true
	}
	if s == Ended {
		r.Ended = c.now
	}
}

// forget takes back what was forgiven and has come right since.
func (c *course) forget() {
	r := &c.Record
	lower := func(forgiven *int, failed int) {
		if *forgiven > failed {
			*forgiven, c.Changed = failed, true
		}
	}
	lower(&r.Forgiven, c.all().Failed())
	for i := range r.Waves {
		lower(&r.Waves[i].Forgiven, c.tally(i).Failed())
	}
}

// obey does what was asked, as far as the state allows it.
func (c *course) obey(asks Asks) {
	r := &c.Record
	why := ""
	if asks.Reason != "" {
		why = ": " + asks.Reason
	}
	switch {
	case asks.Abort && r.CanAbort() == nil:
		c.to(Aborting, abortedByOperator+why)
	case asks.Pause && r.CanPause() == nil:
		c.to(Paused, pausedByOperator+why)
	case asks.Pause: // and it stays paused, whatever else was asked
	case asks.Resume && r.CanResume() == nil:
		if _, spent := c.spent(); spent {
			r.Forgiven = c.all().Failed()
			for i := range r.Waves {
				r.Waves[i].Forgiven = c.tally(i).Failed()
			}
		}
		c.to(Running, "")
	}
	if asks.Promote && r.CanPromote() == nil { // which a pause or an abort has just forbidden
		r.Waves[r.Wave].Promoted, c.Changed = true, true
	}
}

// tally is that of wave i, in which what was launched and is not settled after
// Wait, or when nothing runs any more, counts as held.
func (c *course) tally(i int) Tally {
	w := c.Record.Waves[i]
	t := w.Tally
	if w.Launched > 0 && (c.idle || c.waited(w)) {
		t.Held += w.open()
		t.InFlight = 0
		t.Waiting = 0
	}
	return t
}

func (c *course) all() Tally {
	var t Tally
	for i := range c.Record.Waves {
		t = t.Plus(c.tally(i))
	}
	return t
}

// waited reports whether Wait has passed since the last launch of w.
func (c *course) waited(w WaveStatus) bool {
	return !w.LaunchedAt.IsZero() && !c.now.Before(w.LaunchedAt.Add(c.Record.Wait))
}

// spent asks the budget, with the failures that count.
func (c *course) spent() (string, bool) {
	r := c.Record
	if len(r.Waves) == 0 {
		return "", false
	}
	w := c.tally(r.Wave).forgiving(r.Waves[r.Wave].Forgiven)
	reason, spent := Spent(r.Budget, w, c.all().forgiving(r.Forgiven))
	if spent && r.Forgiven > 0 {
		reason = "since it was resumed, " + reason
	}
	return reason, spent
}

// spend stops a campaign whose budget is spent, when that stops something.
func (c *course) spend() {
	r := &c.Record
	if r.State != Running { // an operator who paused it decides
		return
	}
	reason, spent := c.spent()
	ahead := c.unlaunched()
	switch {
	case !spent:
	case r.Budget.OnSpent == topology.AbortWhenSpent && ahead+c.unsettled() > 0:
		c.to(Aborting, reason)
	case r.Budget.OnSpent != topology.AbortWhenSpent && ahead > 0:
		c.to(Paused, reason)
	}
}

// unlaunched is how many batches have not been launched.
func (c *course) unlaunched() int {
	n := 0
	for _, w := range c.Record.Waves {
		n += w.Count - w.Launched
	}
	return n
}

// unsettled is how many links may still go back: in flight, held, or about to
// begin.
func (c *course) unsettled() int {
	n := 0
	for _, w := range c.Record.Waves {
		n += w.Tally.Held + w.Tally.InFlight
		if !c.idle {
			n += max(0, w.open()-w.Tally.InFlight)
		}
	}
	return n
}

// advance goes through the waves as far as it can.
func (c *course) advance() {
	r := &c.Record
	for {
		if len(r.Waves) == 0 {
			c.end("there were no links")
			return
		}
		w := &r.Waves[r.Wave]
		if r.State == Running {
			c.launch(w)
		}
		if !c.over(*w) {
			if w.Launched > 0 && !c.waited(*w) {
				c.Wake = w.LaunchedAt.Add(r.Wait)
			}
			return
		}
		if w.Ended.IsZero() {
			w.Ended, c.Changed = c.now, true
		}
		if r.Wave == len(r.Waves)-1 {
			c.end("")
			return
		}
		if until := w.Ended.Add(w.Soak); !w.Promoted && c.now.Before(until) {
			c.Wake = until
			return
		}
		if r.State == Paused {
			return
		}
		r.Wave, c.Changed = r.Wave+1, true
	}
}

// launch begins batches of w while fewer links than the bound are under way. Half
// a batch of stragglers does not keep the next batch from its place.
func (c *course) launch(w *WaveStatus) {
	if w.Launched == w.Count {
		return
	}
	open := 0
	if !c.idle && !c.waited(*w) {
		open = max(0, w.open()-w.Tally.Waiting)
	}
	bound := max(1, c.Record.SideBySide) * w.batchLinks(0)
	for w.Launched < w.Count {
		n := w.batchLinks(w.Launched)
		if open+n > bound+n/2 {
			return
		}
		if w.Begun.IsZero() {
			w.Begun = c.now
		}
		c.Launch = append(c.Launch, w.First+w.Launched)
		w.Launched++
		w.LaunchedAt = c.now
		open += n
		c.idle, c.Changed = false, true
	}
}

// open is how many links have been launched and are not settled.
func (w WaveStatus) open() int {
	launched := 0
	for k := range w.Launched {
		launched += w.batchLinks(k)
	}
	return max(0, launched-w.Tally.Done())
}

// over reports whether nothing of w is waited for any more.
func (c *course) over(w WaveStatus) bool {
	switch {
	case !w.Ended.IsZero():
		return true
	case w.Launched < w.Count:
		return false
	}
	// What another campaign has may be about to be begun by this one, too.
	return w.Tally.Done()-w.Tally.Superseded >= w.Tally.Links || w.Promoted || c.idle || c.waited(w)
}

// goBack waits for what an abort takes back.
func (c *course) goBack() {
	until := c.Record.Since.Add(c.Record.Wait)
	if c.unsettled() == 0 || c.idle || !c.now.Before(until) {
		c.end(c.Record.Reason)
		return
	}
	c.Wake = until
}

// fix counts what is still in flight as held, where it has run out of time: nobody
// counts again when the campaign has ended.
func (c *course) fix() {
	r := &c.Record
	r.Tally = Tally{}
	for i := range r.Waves {
		if w := &r.Waves[i]; w.Launched > 0 && (c.idle || c.waited(*w)) {
			w.Tally.Held, w.Tally.InFlight, w.Tally.Waiting = w.Tally.Held+w.Tally.InFlight, 0, 0
		}
		r.Tally = r.Tally.Plus(r.Waves[i].Tally)
	}
}

// end ends the campaign, with what became of its links.
func (c *course) end(why string) {
	r := &c.Record
	if len(r.Waves) > 0 {
		w := &r.Waves[r.Wave]
		if !w.Begun.IsZero() && w.Ended.IsZero() {
			w.Ended = c.now
		}
		if reason, spent := c.spent(); spent && !r.Aborted {
			why = reason
		}
		c.fix()
		if why != "" {
			why = "; " + why
		}
		why = c.Record.Tally.String() + why
	}
	c.to(Ended, why)
}
