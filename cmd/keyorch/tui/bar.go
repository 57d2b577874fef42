package tui

import "strings"

// The signs of a bar. Each means something without its colour.
const (
	signRotated  = "█"
	signInFlight = "▒"
	signHeld     = "◍"
	signFailed   = "×"
	signSkipped  = "·"
	signWaiting  = "░"
)

// cells shares width among the counts: whatever is not zero has at least one
// cell where there is room, the sum is width exactly, and the largest share pays
// for the smallest.
func cells(width int, counts ...int) []int {
	out := make([]int, len(counts))
	total := 0
	for _, c := range counts {
		total += max(0, c)
	}
	if width <= 0 || total == 0 {
		return out
	}
	used := 0
	for i, c := range counts {
		if c <= 0 {
			continue
		}
		out[i] = max(1, int(int64(c)*int64(width)/int64(total)))
		used += out[i]
	}
	for ; used < width; used++ { // to the one that is the most short of its share
		best, missing := -1, 0.0
		for i, c := range counts {
			short := float64(c)*float64(width)/float64(total) - float64(out[i])
			if c > 0 && (best < 0 || short > missing) {
				best, missing = i, short
			}
		}
		out[best]++
	}
	for ; used > width; used-- {
		most := 0
		for i := range out {
			if out[i] > out[most] {
				most = i
			}
		}
		out[most]--
	}
	return out
}

// bar draws a tally width cells wide.
func (st styles) bar(t Tally, width int) string {
	c := cells(width, t.Rotated, t.InFlight, t.Held, t.Failed, t.Skipped, t.Open()-t.InFlight)
	var b strings.Builder
	for i, part := range []struct {
		sign  string
		style style
	}{
		{signRotated, st.good}, {signInFlight, st.busy}, {signHeld, st.held}, {signFailed, st.bad}, {signSkipped, st.faint},
		{signWaiting, st.faint},
	} {
		if c[i] > 0 {
			b.WriteString(part.style.Render(strings.Repeat(part.sign, c[i])))
		}
	}
	if t.Total == 0 {
		return st.faint.Render(strings.Repeat(" ", max(0, width)))
	}
	return b.String()
}
