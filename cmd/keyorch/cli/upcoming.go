package cli

import (
	"context"
	"sync"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
)

// askSchedules is how often Temporal is asked for the schedules.
const askSchedules = 30 * time.Second

// upcoming is which schedule fires next. Temporal is asked aside, so that a screen
// never waits for it.
type upcoming struct {
	ctx  context.Context
	list func(context.Context) ([]wiring.ScheduleState, error)

	group sync.WaitGroup
	mu    sync.Mutex
	asked time.Time
	busy  bool
	name  string
	at    time.Time
}

// next is the schedule that fires next, or words with a zero time; empty while
// nobody knows.
func (u *upcoming) next(now time.Time) (string, time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.busy && now.Sub(u.asked) >= askSchedules {
		u.busy, u.asked = true, now
		u.group.Go(func() { u.refresh(now) })
	}
	return u.name, u.at
}

func (u *upcoming) refresh(now time.Time) {
	all, err := u.list(u.ctx)
	name, at := "", time.Time{}
	if err == nil {
		name, at = soonest(all, now)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy, u.name, u.at = false, name, at
}

func soonest(all []wiring.ScheduleState, now time.Time) (string, time.Time) {
	name, at := "nothing is scheduled", time.Time{}
	for _, s := range all {
		if s.Paused {
			if at.IsZero() {
				name = "every schedule is paused"
			}
			continue
		}
		for _, t := range s.Next {
			if t.After(now) && (at.IsZero() || t.Before(at)) {
				name, at = s.Name, t
			}
		}
	}
	return name, at
}
