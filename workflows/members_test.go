package workflows_test

import (
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// TestANodeThatJoinsHoldsNoRotation has a node join that cannot: it is dead, or
// its site cannot open what was wrapped before it was there. The nodes of the link
// get their new key all the same, and the node joins on that one.
func TestANodeThatJoinsHoldsNoRotation(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.established("a")
		l := pair("a")
		l.Downstream = append(l.Downstream, "a-down3")
		w.declare(l)
		w.change(dead, "a-down3")
		time.AfterFunc(time.Hour, func() {
			s := w.record("a").State
			if s.Sends().Epoch != 2 || !s.Restaging() {
				t.Errorf("after an hour it sends %v in %v, want epoch 2 staged again", s.Sends().Ref, s.Phase)
			}
			w.change(alive, "a-down3")
		})
		want(t, w.rotate("a"), res("a", link.Rotated, 2))
		w.steady("a", 2, link.Rotated)
		w.locked(func() {
			for e := range w.nodes["a-down3"].at["a"].accepts {
				if e < 2 {
					t.Errorf("a-down3 was given epoch %d, which is older than its place on the link", e)
				}
			}
		})
	})
}

// TestADeadNodeIsReplaced declares another node in the place of one that holds its
// link.
func TestADeadNodeIsReplaced(t *testing.T) {
	for _, p := range []link.Phase{link.Staging, link.Switching, link.Retiring} {
		t.Run(p.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				l := pair("a")
				l.Upstream = append(l.Upstream, "a-up2")
				w := newWorld(t, l)
				w.established("a")
				gone := keychain.NodeID("a-down2")
				if p == link.Switching {
					gone = "a-up2"
				}
				if p == link.Staging {
					w.change(dead, gone)
				}
				w.when("a", in(p), func() {
					w.change(dead, gone)
					time.Sleep(time.Minute)
					l := pair("a")
					l.Upstream = append(l.Upstream, "a-up2")
					if p == link.Switching {
						l.Upstream = []keychain.NodeID{"a-up", "a-up3"}
					} else {
						l.Downstream = []keychain.NodeID{"a-down1", "a-down3"}
					}
					w.declare(l)
				})
				want(t, w.rotate("a"), res("a", link.Rotated, 2))
				if got := w.record("a").State.Nodes(); len(got) != 3 {
					t.Errorf("the nodes are %v, want %s gone", got, gone)
				}
				w.running[theCampaign] = false
				want(t, w.newRun("rotate-2").outcome(again("rotate-2", "a")), res("a", link.Rotated, 3))
				if got := w.record("a").State.Nodes(); len(got) != 4 {
					t.Errorf("the nodes are %v, want the new one to have joined", got)
				}
			})
		})
	}
}

func again(id string, links ...keychain.LinkID) workflows.Batch {
	return workflows.Batch{Campaign: id, Intent: workflows.ToRotate, Links: links}
}
