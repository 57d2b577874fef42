package topology

import (
	"time"
)

// Policy is how links are rotated. A document leaves out what it has no opinion
// on; DefaultPolicy has what is meant then.
//
// Drain, Quiet, KeyAge, the windows and freezes and Quorum belong to each link,
// whatever campaign it is rotated in. Waves, Budget, Wait, Tail and Schedule
// belong to a campaign.
type Policy struct {
	Name   string
	Labels Labels
	// Drain is the least time between the last upstream switch and the moment when
	// the old key is forgotten, from 0 to MaxDrain. A document without it means
	// DefaultDrain.
	Drain time.Duration
	// Quiet is how long the packet counters of the old key must have stood still as
	// well, on every downstream device that counts; zero asks for no counters.
	Quiet time.Duration
	// Waves are the parts of a campaign, one after the other. The last one takes
	// what is left; Parse refuses policies whose last one does not say so. None
	// leaves it to package campaign.
	Waves []Wave
	// Budget is how much may go wrong before a campaign stops.
	Budget Budget
	// Wait is how long a wave may wait for confirmations before its unfinished
	// links count as held, at least a second. Zero is read back as DefaultWait.
	Wait time.Duration
	// Tail is how long a held link keeps a staged key that nobody sends with, and
	// how old such a key may be for the next campaign to go on with it.
	Tail time.Duration
	// KeyAge is how old a key may become.
	KeyAge KeyAge
	// TimeZone is the zone of Windows, Freezes and Schedule, an IANA name; empty is
	// UTC.
	TimeZone string
	// Windows are when links may be rotated; none means always.
	Windows []Window
	// Freezes are when they may not.
	Freezes []Freeze
	// Quorum is how many downstream nodes of a link are enough; zero means all. The
	// missing ones are quarantined: they are no part of the link until the key has
	// been staged for them again.
	Quorum Amount
	// Schedule is when a campaign over the links of this policy begins by itself.
	Schedule Schedule
}

// Amount is a number, or a share of a whole in percent, as in "5" and "10%". The
// zero Amount is none. At most one of the two is set: Number up to MaxNumber,
// Percent up to 100.
type Amount struct {
	Number  int     `json:"number,omitempty"`
	Percent float64 `json:"percent,omitempty"`
}

// Wave is one part of a campaign.
type Wave struct {
	Name string `json:"name,omitempty"`
	// Size is how many links the campaign has taken up at the end of this wave when
	// it has no Selector, as a number or as a share of all of them; with a Selector
	// how many of the links that match it takes, zero for all.
	Size Amount `json:"size,omitzero"`
	// Selector chooses the wave's links by their labels, as in "tier=canary".
	Selector string `json:"selector,omitempty"`
	// Soak is how long the campaign waits after this wave before the next.
	Soak time.Duration `json:"soak,omitempty"`
}

// Budget is how many links may fail: be held beyond Wait, refused or aborted.
// What equals the budget is still inside of it.
type Budget struct {
	// Campaign is a part of all links of the campaign, Wave of those of one wave.
	Campaign Amount `json:"campaign"`
	Wave     Amount `json:"wave"`
	// OnSpent is what happens when more fail. Empty is read back as PauseWhenSpent.
	OnSpent OnSpent `json:"onSpent"`
}

// OnSpent is what a campaign does when its budget is spent.
type OnSpent string

// What a campaign may do.
const (
	PauseWhenSpent OnSpent = "pause" // nothing more begins until an operator resumes
	AbortWhenSpent OnSpent = "abort" // and what has not switched yet goes back
)

// KeyAge is how old keys may become. Zero means no limit.
type KeyAge struct {
	Max  time.Duration `json:"max,omitempty"`
	Warn time.Duration `json:"warn,omitempty"`
}

// Window is a time of the week in which links may be rotated. From and To are
// times of day, "22:00", and To may be "24:00"; To before From is on the following
// day. No Days means every day, and Days are those on which the window begins.
// What that means when the clock changes is said at Closed.
type Window struct {
	Days []time.Weekday `json:"days,omitempty"`
	From string         `json:"from"`
	To   string         `json:"to"`
}

// Freeze is a time in which nothing is rotated: local times in the policy's zone,
// "2026-12-20" or "2026-12-20T18:00". To is not part of it.
type Freeze struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason,omitempty"`
}

// Schedule is when a campaign begins by itself. Cron has five fields and is read
// in the policy's zone; empty means never. One of the fields for days is "*",
// because readers of cron differ in what both together mean. Every start is put
// off by a random time up to Jitter.
type Schedule struct {
	Cron   string        `json:"cron,omitempty"`
	Jitter time.Duration `json:"jitter,omitempty"`
}

// The defaults of a policy.
const (
	DefaultWait = 10 * time.Minute
	DefaultTail = 24 * time.Hour
)

// QuorumWait is for how long a link waits for all its downstream nodes before a
// quorum is enough: half of Wait, so that the other half is left for what comes
// after it, and a link that goes on is not counted as held.
func (p Policy) QuorumWait() time.Duration { return p.Wait / 2 }

// DefaultPolicy is what links without a policy are rotated by, and what a
// document means by what it leaves out: at once when they are few, else one
// link, then a tenth, then all; a pause when more than a tenth of a wave, or of
// all links, fails.
func DefaultPolicy() Policy {
	tenth := Amount{Percent: 10}
	return Policy{
		Drain:  DefaultDrain,
		Budget: Budget{Campaign: tenth, Wave: tenth, OnSpent: PauseWhenSpent},
		Wait:   DefaultWait, Tail: DefaultTail,
	}
}
