package topology_test

import (
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		text, again       string
		of1, of10, of1000 int
		most              int // the largest number of failures of 1000 that is within
		bad               bool
	}{
		{text: "0", again: "0", most: 0},
		{text: "0%", again: "0", most: 0},
		{text: "5", again: "5", of1: 1, of10: 5, of1000: 5, most: 5},
		{text: "007", again: "7", of1: 1, of10: 7, of1000: 7, most: 7},
		{text: "1000000", again: "1000000", of1: 1, of10: 10, of1000: 1000, most: 1000},
		{text: "10%", again: "10%", of1: 1, of10: 1, of1000: 100, most: 100},
		{text: "0.01%", again: "0.01%", of1: 1, of10: 1, of1000: 1, most: 0},
		{text: "33.3%", again: "33.3%", of1: 1, of10: 4, of1000: 333, most: 333},
		{text: "99.9%", again: "99.9%", of1: 1, of10: 10, of1000: 999, most: 999},
		{text: "100%", again: "100%", of1: 1, of10: 10, of1000: 1000, most: 1000},
		{text: "100.0%", again: "100%", of1: 1, of10: 10, of1000: 1000, most: 1000},
		{text: "", bad: true}, {text: "%", bad: true}, {text: "-1", bad: true}, {text: "-1%", bad: true}, {text: "101%", bad: true},
		{text: "100.01%", bad: true}, {text: "1000001", bad: true}, {text: "99999999999999999999", bad: true}, {text: "2.5", bad: true},
		{text: "5 %", bad: true}, {text: " 5", bad: true}, {text: "1e2", bad: true}, {text: "NaN%", bad: true}, {text: "+5", bad: true}, {text: "5\n", bad: true},
	} {
		a, err := topology.ParseAmount(c.text)
		if c.bad {
			if !fault.Is(err, fault.Invalid) || !a.IsZero() {
				t.Errorf("%q: %v, %v", c.text, a, err)
			}
			continue
		}
		if err != nil || a.String() != c.again {
			t.Errorf("%q: %s, %v, want %s", c.text, a, err, c.again)
		}
		if again, err := topology.ParseAmount(a.String()); err != nil || again != a {
			t.Errorf("%q: read again %v, %v", c.text, again, err)
		}
		for total, want := range map[int]int{0: 0, 1: c.of1, 10: c.of10, 1000: c.of1000} {
			if got := a.Of(total); got != want {
				t.Errorf("%s of %d: %d, want %d", a, total, got, want)
			}
		}
		for failed := range 1001 {
			if a.Within(failed, 1000) != (failed <= c.most) {
				t.Errorf("%d of 1000 within %s: %v", failed, a, failed > c.most)
			}
		}
		if !a.Within(0, 0) {
			t.Errorf("nothing of nothing is not within %s", a)
		}
	}
}

// A share rounded up is never below the share, nor a whole link above it,
// whatever binary numbers make of it.
func TestSharesAreRoundedUp(t *testing.T) {
	for permille := 1; permille <= 1000; permille++ {
		a := topology.Amount{Percent: float64(permille) / 10}
		for _, total := range []int{1, 3, 7, 10, 100, 999, 1000, 10_000, 999_999} {
			want := (permille*total + 999) / 1000
			if got := a.Of(total); got != want {
				t.Fatalf("%s of %d: %d, want %d", a, total, got, want)
			}
			if limit := permille * total / 1000; !a.Within(limit, total) || a.Within(limit+1, total) {
				t.Fatalf("%s of %d: the limit is not %d", a, total, limit)
			}
		}
	}
}
