package workflows_test

import (
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// TestWhoIsBackWithTheKeyIsPartOfTheNextRotation has a recovery that went on without a
// node of each side. Both are back, and use the key that the link is on: they would lose
// packets if the others went to the next one first.
func TestWhoIsBackWithTheKeyIsPartOfTheNextRotation(t *testing.T) {
	for _, c := range []struct {
		name  string
		lacks bool
		want  int
	}{
		{"it has the key", false, 2},
		{"it has lost the key", true, 1}, // the link does not wait for it
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				l := pair("a")
				l.Upstream = append(l.Upstream, "a-up2")
				w := newWorld(t, l)
				w.established("a")
				r := w.record("a")
				r.State.Upstream, r.State.Downstream = r.State.Upstream[:1], r.State.Downstream[:1]
				w.put(r)
				if c.lacks {
					for _, n := range []keychain.NodeID{"a-up2", "a-down2"} {
						w.says("a", keychain.Report{Node: n, Turn: r.State.Turn})
					}
				}
				var switching link.State
				w.when("a", func(r link.Record) bool {
					if ok := r.State.Phase == link.Switching && r.State.To.Epoch == 2; ok {
						switching = r.State
						return true
					}
					return false
				}, func() {})
				want(t, w.rotate("a"), res("a", link.Rotated, 2))
				if len(switching.Upstream) != c.want || len(switching.Downstream) != c.want {
					t.Errorf("it switches with %v and %v", switching.Upstream, switching.Downstream)
				}
				if s := w.record("a").State; len(s.Upstream) != 2 || len(s.Downstream) != 2 {
					t.Errorf("it ends with %v and %v", s.Upstream, s.Downstream)
				}
			})
		})
	}
}
