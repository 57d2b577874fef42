package link_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/link"
)

// broken is a protection that is taken away, to see that the model check finds
// out.
type broken int

const (
	none          broken = iota
	noFence              // nodes obey orders of any Turn
	noDisk               // an agent that restarts has forgotten the Turn
	lateJournal          // the Turn is noted after the report, not before acting
	anyTurn              // reports carry the present Turn, not the one obeyed
	noStaging            // nodes confirm what they were asked, not what they did
	oneIsEnough          // the machine does not wait for the others
	noDrain              // Drained comes while packets are in flight
	noComparing          // agents do not compare the KCV in the order
	noReportedKCV        // every report has the KCV that the machine likes
	noLedger             // counter-bound nodes send with whatever is ordered
	noTurning            // the machine waits for a node that can never go on
	noRestart            // no operator restarts a device that can go nowhere
	noRestaging          // a node that comes back is counted on at once
	anyMissing           // a quorum leaves out senders as well
)

// step is what the machine without the protection makes of old, where Step made
// s.
func (b broken) step(old, s link.State) link.State {
	switch {
	case b == oneIsEnough && s.Phase == link.Staging && len(s.Awaiting) < len(old.Awaiting):
		s.Awaiting = nil
	case b == noRestaging && old.Phase == link.Steady && s.Restaging():
		s.Phase, s.From, s.Turn, s.Awaiting = old.Phase, old.From, old.Turn, old.Awaiting
	case b == noTurning && s.Phase == old.Phase && s.Reverting != old.Reverting && s.Reason != "abort":
		s.Phase, s.From, s.To, s.Turn = old.Phase, old.From, old.To, old.Turn
		s.Reverting, s.Reason, s.Awaiting = old.Reverting, old.Reason, old.Awaiting
	}
	return s
}

type tooth struct {
	name   string
	broken broken
	config string // the name of the one in configs
	// plainOnly: the reductions rely on this protection.
	plainOnly bool
	// joinedOnly: there are too many worlds without the reductions.
	joinedOnly bool
	stuck      bool // the bite is a world without a way back to Steady,
	help       who  // with this help
}

func teeth() []tooth {
	const (
		plain   = "two rotations"
		counted = "counter-bound nodes restart"
		killed  = "counter-bound nodes"
	)
	return []tooth{
		{name: "no fencing", broken: noFence, config: plain, plainOnly: true},
		{name: "the journal does not survive the agent", broken: noDisk, config: plain, plainOnly: true},
		{name: "the journal is written last", broken: lateJournal, config: plain},
		{name: "a report counts for any Turn", broken: anyTurn, config: plain, joinedOnly: true},
		{name: "no staging before switching", broken: noStaging, config: plain},
		{name: "one confirmation is enough", broken: oneIsEnough, config: plain},
		{name: "no draining before retiring", broken: noDrain, config: plain},
		{name: "agents do not compare KCVs", broken: noComparing, config: "an upstream node unwraps a wrong key"},
		{name: "reports do not carry the true KCV", broken: noReportedKCV, config: "a downstream node unwraps a wrong key"},
		{name: "a lost sending epoch is used again", broken: noLedger, config: counted},
		{name: "no turning round for a stranded node", broken: noTurning, config: killed, stuck: true, joinedOnly: true},
		{name: "a node that was left out is counted on without staging", broken: noRestaging, config: "a quorum leaves nodes out"},
		{name: "a quorum leaves out a sender", broken: anyMissing, config: "a quorum leaves no sender out"},
		{name: "no restart of a stranded device", broken: noRestart, config: counted, stuck: true, joinedOnly: true, help: operator},
	}
}

// TestTeeth takes one protection away at a time: a check that cannot fail proves
// nothing.
func TestTeeth(t *testing.T) {
	t.Parallel()
	bites := 0
	for _, tooth := range teeth() {
		t.Run(tooth.name, func(t *testing.T) {
			for _, plain := range []bool{true, false} {
				if plain && tooth.joinedOnly || !plain && tooth.plainOnly {
					continue
				}
				path, worlds := tooth.bite(t, plain)
				if path == nil {
					t.Errorf("%d worlds (plain: %v), and all is well", worlds, plain)
				}
				if plain || tooth.joinedOnly {
					t.Logf("bites after %d worlds:\n  %s", worlds, strings.Join(path, "\n  "))
				}
			}
			bites++
		})
	}
	fmt.Fprintf(os.Stdout, "teeth: %d protections taken away, each seen to matter\n", bites)
}

// bite is the shortest path to what goes wrong, nil if nothing does.
func (tooth tooth) bite(t *testing.T, plain bool) (path []string, worlds int) {
	for _, c := range configs() {
		if c.name != tooth.config {
			continue
		}
		c.broken, c.plain = tooth.broken, plain
		m := newChecker(t, c)
		if path = m.explore(); path != nil || !tooth.stuck {
			return path, len(m.worlds)
		}
		if id := m.stuck(tooth.help); id >= 0 {
			path = append(m.path(id), "there is no way back to Steady")
		}
		return path, len(m.worlds)
	}
	t.Fatalf("no config %q", tooth.config)
	return nil, 0
}
