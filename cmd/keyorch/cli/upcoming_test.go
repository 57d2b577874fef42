package cli

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
)

func scheduled(name string, paused bool, in ...time.Duration) wiring.ScheduleState {
	s := wiring.ScheduleState{Schedule: wiring.Schedule{Name: name}, Paused: paused}
	for _, d := range in {
		s.Next = append(s.Next, morning.Add(d))
	}
	return s
}

func TestWhatIsScheduledNext(t *testing.T) {
	for want, all := range map[string][]wiring.ScheduleState{
		"nothing is scheduled 0s":     nil,
		"every schedule is paused 0s": {scheduled("nightly", true, time.Hour)},
		"weekly 2h0m0s":               {scheduled("nightly", true, time.Hour), scheduled("weekly", false, -time.Hour, 2*time.Hour), scheduled("yearly", false, 3*time.Hour)},
		"nightly 1h0m0s":              {scheduled("weekly", false, 2*time.Hour), scheduled("nightly", false, time.Hour), scheduled("other", true, time.Minute)},
	} {
		name, at := soonest(all, morning)
		in := time.Duration(0)
		if !at.IsZero() {
			in = at.Sub(morning)
		}
		if got := name + " " + in.String(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestAScreenDoesNotWaitForSchedules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answer := 0, make(chan error)
		u := &upcoming{ctx: t.Context(), list: func(context.Context) ([]wiring.ScheduleState, error) {
			asked++
			return []wiring.ScheduleState{scheduled("nightly", false, time.Hour)}, <-answer
		}}
		for range 3 { // while Temporal does not answer
			if name, _ := u.next(morning); name != "" {
				t.Error("known before it was answered:", name)
			}
		}
		answer <- nil
		u.group.Wait()
		if name, at := u.next(morning); name != "nightly" || !at.Equal(morning.Add(time.Hour)) || asked != 1 {
			t.Errorf("%q at %v, asked %d times", name, at, asked)
		}
		u.next(morning.Add(askSchedules))
		answer <- errors.New("temporal is away")
		u.group.Wait()
		if name, _ := u.next(morning.Add(askSchedules)); name != "" || asked != 2 {
			t.Errorf("nobody knows, but %q, asked %d times", name, asked)
		}
	})
}
