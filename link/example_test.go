package link_test

import (
	"fmt"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// A link gets its first key: its downstream node accepts it before its upstream
// node sends with it.
func Example() {
	s := link.New([]keychain.NodeID{"dc1-r1"}, []keychain.NodeID{"dc2-r1"})
	key := keychain.Ref{Epoch: 1, KCV: "a1b2c3d4e5"}
	for _, e := range []link.Event{
		link.Rotate{Epoch: 1},
		link.Reported{Report: keychain.Report{Node: "dc2-r1", Turn: 1, Accepts: []keychain.Ref{key}}},
		link.Cleared{Turn: 1},
		link.Reported{Report: keychain.Report{Node: "dc1-r1", Turn: 2, Sends: key}},
	} {
		next, err := link.Step(s, e)
		if err != nil {
			fmt.Println(err)
			return
		}
		s = next
		fmt.Printf("%v, awaits %v\n", s.Phase, s.Awaiting)
	}
	for _, o := range link.Orders(s) {
		fmt.Println(o.Node, "turn", o.Turn, "accepts", o.Accept, "sends", o.Send)
	}
	// Output:
	// Staging, awaits [dc2-r1]
	// Staging, awaits []
	// Switching, awaits [dc1-r1]
	// Steady, awaits []
	// dc1-r1 turn 2 accepts [] sends 1 (a1b2c3d4e5)
	// dc2-r1 turn 1 accepts [1 (a1b2c3d4e5)] sends none
}

// A link is held: one node does not answer, and the old key stays in use.
func ExampleExplain() {
	s := link.State{
		Phase: link.Staging, Turn: 7, Highest: 4,
		From:       link.Key{Ref: keychain.Ref{Epoch: 3, KCV: "a1b2c3d4e5"}, Serial: 3},
		To:         link.Key{Ref: keychain.Ref{Epoch: 4}, Serial: 4},
		Upstream:   []keychain.NodeID{"dc1-r1"},
		Downstream: []keychain.NodeID{"dc3-r1"},
		Awaiting:   []keychain.NodeID{"dc3-r1"},
	}
	x := link.Explain("dc1-dc3", link.Snapshot{State: s, Present: []keychain.NodeID{"dc1-r1"}})
	fmt.Println(x.Summary)
	fmt.Println(x.Command)
	// Output:
	// dc1-dc3 is Staging on its way from epoch 3 to 4: waiting for dc3-r1 to accept epoch 4: no agent serves it; the old key, epoch 3, stays in use
	// start the agent of node dc3-r1, or go back: keyorch abort dc1-dc3
}
