package campaign

import (
	"github.com/keyorch/keyorch/fault"
)

// Asks is what has come up since the last look at a campaign. When several are
// set, Abort goes before Pause, and Pause before Resume and Promote; what the
// campaign's state does not allow (CanPause and the others) changes nothing.
type Asks struct {
	// Pause: nothing more begins; what has begun goes on.
	Pause bool
	// Resume: go on after a pause; failures so far do not spend the budget again.
	Resume bool
	// Abort: nothing more begins, and what has not switched goes back.
	Abort bool
	// Promote: do not wait for what this wave has begun, and skip its soak. What it
	// has not begun yet is begun all the same.
	Promote bool
	// Reason is the operator's, for Pause and Abort; may be empty.
	Reason string
	// Idle says that no batch that was launched runs any more, so that its links
	// that have not begun never will. It is a fact, not a wish.
	Idle bool
}

// CanPause says why the campaign cannot be paused (kind Refused), or nil.
func (r Record) CanPause() error {
	switch r.State {
	case Paused:
		return r.refuse("pause", "it is paused already (%s): keyorch resume %s goes on", r.Reason, r.Name)
	case Aborting:
		return r.refuse("pause", "it is being aborted: nothing more begins")
	case Ended:
		return r.refuse("pause", "it has ended: %s", r.Reason)
	case Running:
	}
	return nil
}

// CanResume says why the campaign cannot go on (kind Refused), or nil.
func (r Record) CanResume() error {
	switch r.State {
	case Paused:
		return nil
	case Aborting:
		return r.refuse("resume", "it is being aborted, which cannot be taken back: keyorch retry %s when it has ended", r.Name)
	case Ended:
		return r.refuse("resume", "it has ended: %s", r.Reason)
	case Running:
	}
	return r.refuse("resume", "it is not paused")
}

// CanAbort says why the campaign cannot be aborted (kind Refused), or nil.
func (r Record) CanAbort() error {
	switch r.State {
	case Aborting:
		return r.refuse("abort", "it is being aborted already: %s", r.Reason)
	case Ended:
		return r.refuse("abort", "it has ended: keyorch abort LINK takes a held link back")
	case Running, Paused:
	}
	return nil
}

// CanPromote says why there is no waiting to cut short (kind Refused), or nil.
func (r Record) CanPromote() error {
	switch r.State {
	case Paused:
		return r.refuse("promote", "it is paused (%s): keyorch resume %s first", r.Reason, r.Name)
	case Aborting:
		return r.refuse("promote", "it is being aborted: nothing more begins")
	case Ended:
		return r.refuse("promote", "it has ended: %s", r.Reason)
	case Running:
	}
	switch {
	case r.Wave >= len(r.Waves)-1:
		return r.refuse("promote", "it is in its last wave, after which nothing waits")
	case r.Waves[r.Wave].Promoted:
		return r.refuse("promote", "wave %s is promoted already, and links of it that have their turn are being begun", r.Waves[r.Wave].Name)
	}
	return nil
}

// CanRetry says why there is nothing to try again (kind Refused), or nil: in a
// campaign that runs or is paused its failed links get another try, and over those
// of one that has ended a campaign of kind Retry begins.
func (r Record) CanRetry() error {
	switch {
	case r.State == Aborting:
		return r.refuse("retry", "it is still going back: wait until it has ended")
	case r.Tally.Failed() == 0:
		return r.refuse("retry", "none of its links is held, aborted or refused")
	}
	return nil
}

func (r Record) refuse(verb, format string, a ...any) error {
	return fault.Wrap(fault.Refused, fault.New(fault.Refused, format, a...), "%s campaign %s", verb, r.Name)
}
