// Package tui is the live view of a fleet on a terminal: waves as bars, links by
// phase, held links with their reasons, and the keys to pause, resume and promote.
// Where there is no terminal, Lines says the same in lines.
//
// It knows nothing of etcd or Temporal: a Source says what to show, Actions do
// what an operator asks for. Everything on the screen is a function of the last
// Screen, the size of the terminal and the keys pressed; what comes from devices
// is printed without its control characters. It uses no sound, no mouse and no
// animation, and nothing on it is told by colour alone.
package tui

import (
	"context"
	"time"
)

// Source gives what is shown now. An error of Screen is shown beside the last
// screen, which stays.
type Source interface {
	// Screen is called about twice a second, never twice at once, and is cheap.
	Screen(ctx context.Context) (Screen, error)
	// Why explains one link, in lines of text.
	Why(ctx context.Context, link string) (string, error)
}

// Actions are what an operator may do from the screen. They return when the
// request was accepted or refused; the error is shown as it is.
type Actions interface {
	Pause(ctx context.Context, campaign, reason string) error
	Resume(ctx context.Context, campaign string) error
	Promote(ctx context.Context, campaign string) error
}

// Screen is everything that is shown. Times are printed in the zone of Now.
type Screen struct {
	Now time.Time
	// Campaign is the one that is watched; nil shows the fleet.
	Campaign *Campaign
	Waves    []Wave
	// Phases are in the order in which a link passes through them.
	Phases []Phase
	// Held are the links that are held or late, those first that need an eye first.
	// There may be more of them than are listed: HeldTotal, which counts when it is
	// larger.
	Held      []Held
	HeldTotal int
	Fleet     Fleet
	// Absent are the nodes that no agent serves.
	Absent []string
	// Messages are what else an operator should know, one line each.
	Messages []string
}

// Campaign is the head of the screen.
type Campaign struct {
	Name, Kind string
	// State is a word such as "running", "paused" or "ended".
	State  string
	Reason string // why it is in that state
	Policy string
	// Wave is the index in Screen.Waves of the one that runs, or ran last.
	Wave  int
	Begun time.Time
	// Expected is when it will have ended; zero when nobody knows.
	Expected time.Time
	Ended    time.Time // zero while it has not
}

// WaveState is where a wave stands.
type WaveState string

// The states of a wave.
const (
	Waiting WaveState = "waiting"
	Running WaveState = "running"
	Soaking WaveState = "soaking"
	Ended   WaveState = "ended"
)

// Wave is one bar.
type Wave struct {
	Name string
	Tally
	State WaveState
	// SoakUntil is when the next wave may begin, while it soaks.
	SoakUntil time.Time
}

// Tally counts links. Every link is in Total, and at most in one of the others;
// those in none wait.
type Tally struct {
	Total, Rotated, InFlight, Held int
	Failed                         int // refused or aborted
	Skipped                        int // for a maintenance, or a newer campaign has them
}

// Plus adds two tallies.
func (t Tally) Plus(o Tally) Tally {
	return Tally{
		Total: t.Total + o.Total, Rotated: t.Rotated + o.Rotated, InFlight: t.InFlight + o.InFlight, Held: t.Held + o.Held,
		Failed: t.Failed + o.Failed, Skipped: t.Skipped + o.Skipped,
	}
}

// Open is how many links may still be rotated without anybody's help.
func (t Tally) Open() int { return max(0, t.Total-t.Rotated-t.Held-t.Failed-t.Skipped) }

// Phase is how many links stand in one phase.
type Phase struct {
	Name  string
	Count int
}

// Held is one link that waits longer than it should, or was refused.
type Held struct {
	Link, Phase string
	Node        string // the one awaited first; empty when it is no node
	Reason      string
	Since       time.Time
}

// Fleet is the whole of it, campaign or not.
type Fleet struct {
	Links, Nodes, Held, Drift int
	// LastCampaign and LastEnd are the campaign that ended last and how, in words;
	// empty when there was none.
	LastCampaign, LastEnd string
	LastAt                time.Time
	// NextCampaign is what the next schedule begins, or words when NextAt is zero;
	// empty when nobody knows.
	NextCampaign string
	NextAt       time.Time
}

// total is the tally of all waves.
func (s Screen) total() Tally {
	var t Tally
	for _, w := range s.Waves {
		t = t.Plus(w.Tally)
	}
	return t
}

// held is how many links are held or late.
func (s Screen) held() int { return max(s.HeldTotal, len(s.Held)) }
