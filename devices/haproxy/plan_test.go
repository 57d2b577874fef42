package haproxy

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keyorch/keyorch/keychain"
)

func epoch(e keychain.Epoch) keychain.Ref {
	return keychain.Ref{Epoch: e, KCV: keychain.KCV(fmt.Sprintf("%010x", uint64(e)))}
}

// spell makes a ring of letters: digits are the keys of these epochs, the others
// are strangers'.
func spell(letters string) ring {
	var r ring
	for i, l := range letters {
		r[i] = letter(l)
	}
	return r
}

func letter(l rune) name {
	if l >= '1' && l <= '9' {
		return nameOf(epoch(keychain.Epoch(l - '0')))
	}
	return name{byte(l)}
}

func (r ring) letters() string {
	s := ""
	for _, n := range r {
		if ref := n.ref(); !ref.IsZero() {
			s += fmt.Sprint(ref.Epoch)
		} else {
			s += string(rune(n[0]))
		}
	}
	return s
}

// wish is one call: a goal made of a ring, and the key that comes with the call.
type wish struct {
	op    string
	epoch keychain.Epoch
}

func (w wish) of(r ring) (goal, []name) {
	fresh := []name{nameOf(epoch(w.epoch))}
	switch w.op {
	case "install":
		return withKey(r, epoch(w.epoch)), fresh
	case "switch":
		g := withKey(r, epoch(w.epoch))
		g.sends = epoch(w.epoch)
		return g, fresh
	}
	return without(r, w.epoch), nil
}

// way is the rings that the driver goes through, planning anew after every push; a
// reload is a "!" before the ring that it brings.
func (w wish) way(t *testing.T, r ring) []string {
	t.Helper()
	var seen []string
	for range tries {
		g, fresh := w.of(r)
		if g.reached(r) {
			return seen
		}
		n, ok := plan(r, g, fresh...)
		if ok {
			r = r.pushed(n)
			seen = append(seen, r.letters())
			continue
		}
		next, err := layout(r, g)
		if err != nil {
			return append(seen, "full")
		}
		r = next
		seen = append(seen, "!"+r.letters())
	}
	t.Fatalf("%v from %s has no end: %v", w, r.letters(), seen)
	return nil
}

func TestPushesAreTheRoles(t *testing.T) {
	for _, c := range []struct {
		what, from string
		wish
		want []string
	}{
		{"the first key, on copies of a stranger's", "sss", wish{"install", 1}, []string{"ss1"}},
		{"and put to use", "ss1", wish{"switch", 1}, []string{"s11"}},
		{"the first key, on three strangers", "stu", wish{"install", 1}, []string{"tu1"}},
		{"the second key", "s11", wish{"install", 2}, []string{"112"}},
		{"install", "111", wish{"install", 2}, []string{"112"}},
		{"switch", "112", wish{"switch", 2}, []string{"122"}},
		{"remove", "122", wish{"remove", 1}, []string{"222"}},
		{"abort after the switch: back", "122", wish{"switch", 1}, []string{"221", "211"}},
		{"abort after the switch: forget", "211", wish{"remove", 2}, []string{"111"}},
		{"abort in staging needs a reload", "112", wish{"remove", 2}, []string{"!111"}},
		{"a switch without an install", "111", wish{"switch", 2}, []string{"112", "122"}},
		{"a third key needs a reload", "112", wish{"install", 3}, []string{"!213"}},
		{"a fourth does not fit", "213", wish{"install", 4}, []string{"full"}},
		{"what is there is not pushed again", "112", wish{"install", 2}, nil},
		{"nor what is in use", "122", wish{"switch", 2}, nil},
		{"what is absent is not removed", "111", wish{"remove", 2}, nil},
		{"two keys while a stranger's seals", "1s2", wish{"remove", 1}, []string{"!ss2"}},
	} {
		if got := c.way(t, spell(c.from)); !slices.Equal(got, c.want) {
			t.Errorf("%s: from %s: %v, want %v", c.what, c.from, got, c.want)
		}
	}
}

// everyRing is every ring of two strangers' keys and three of ours.
func everyRing(f func(r ring)) {
	const letters = "st123"
	for _, a := range letters {
		for _, b := range letters {
			for _, c := range letters {
				f(ring{letter(a), letter(b), letter(c)})
			}
		}
	}
}

// promise is what no ring on the way from r to g may break; empty when it holds.
func promise(r, now ring, g goal) string {
	if now.sends() != r.sends() && now.sends() != g.sends {
		return fmt.Sprintf("it seals with %v, which is neither %v nor %v", now.sends(), r.sends(), g.sends)
	}
	for _, ref := range g.accepts {
		if slices.Contains(r.accepts(), ref) && !slices.Contains(now.accepts(), ref) {
			return fmt.Sprintf("it does not open tickets of %v", ref)
		}
	}
	for _, ref := range now.accepts() {
		if !slices.Contains(r.accepts(), ref) && !slices.Contains(g.accepts, ref) {
			return fmt.Sprintf("it opens tickets of %v, which nobody asked for", ref)
		}
	}
	return ""
}

func TestEveryRingIsLedSafely(t *testing.T) {
	ways := 0
	everyRing(func(r ring) {
		for _, op := range []string{"install", "switch", "remove"} {
			for e := keychain.Epoch(1); e <= 4; e++ {
				w := wish{op, e}
				g, _ := w.of(r)
				if op == "remove" && (r.sends() == epoch(e) || len(g.accepts) == 0) {
					continue // refused
				}
				way := w.way(t, r)
				for _, at := range way {
					if at == "full" {
						if len(g.accepts) < slots {
							t.Errorf("%v from %s: %v, and %v would fit", w, r.letters(), way, g.accepts)
						}
						continue
					}
					if at[0] == '!' {
						at = at[1:]
					}
					if broken := promise(r, spell(at), g); broken != "" {
						t.Errorf("%v from %s by %v: at %s %s", w, r.letters(), way, at, broken)
					}
				}
				ways++
			}
		}
	})
	t.Logf("%d ways", ways)
}

// Without the rule for the rings on the way, pushes lead from an aborted staging to
// where it began, and seal with the new key for a moment.
func TestTeethPushesWithoutTheRule(t *testing.T) {
	r := spell("112")
	g, _ := wish{"remove", 2}.of(r)
	careless := r.pushed(letter('1'))
	if promise(r, careless, g) == "" {
		t.Errorf("the ring %s keeps the promise: the check does not bite", careless.letters())
	}
	if !g.reached(careless.pushed(letter('1')).pushed(letter('1'))) {
		t.Error("careless pushes do not lead there, so that the rule keeps nothing away")
	}
	if n, ok := plan(r, g); ok {
		t.Errorf("the plan pushes %v", n.ref())
	}
}
