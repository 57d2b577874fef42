package tui

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	type point struct {
		second, rotated int
		campaign        string
	}
	for _, c := range []struct {
		name   string
		points []point
		open   int
		rate   float64
		left   time.Duration
		known  bool
	}{
		{name: "nothing is known at first", points: []point{{0, 0, "a"}}, open: 10},
		{name: "one second is too short to tell", points: []point{{0, 0, "a"}, {1, 9, "a"}}, open: 10},
		{name: "ten in ten seconds", points: []point{{0, 0, "a"}, {5, 3, "a"}, {10, 10, "a"}}, open: 30, rate: 1, left: 30 * time.Second, known: true},
		{name: "nothing moves", points: []point{{0, 7, "a"}, {10, 7, "a"}}, open: 30},
		{name: "only the last seconds count", points: []point{{0, 0, "a"}, {10, 1000, "a"}, {30, 1001, "a"}, {40, 1011, "a"}}, open: 5, rate: 1, left: 5 * time.Second, known: true},
		{name: "what moved before does not count", points: []point{{0, 0, "a"}, {10, 1000, "a"}, {30, 1000, "a"}, {40, 1000, "a"}}, open: 5},
		{name: "another campaign begins anew", points: []point{{0, 0, "a"}, {10, 10, "a"}, {11, 11, "b"}}, open: 5},
		{name: "a count that falls begins anew", points: []point{{0, 50, "a"}, {10, 60, "a"}, {11, 2, "a"}}, open: 5},
		{name: "a clock that goes back begins anew", points: []point{{10, 50, "a"}, {20, 60, "a"}, {5, 61, "a"}}, open: 5},
		{name: "nothing left", points: []point{{0, 0, "a"}, {10, 10, "a"}}, rate: 1, known: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var samples []sample
			for _, p := range c.points {
				samples = sampled(samples, sample{p.campaign, noon.Add(time.Duration(p.second) * time.Second), p.rotated})
			}
			rate, left, known := pace(samples, c.open)
			if rate != c.rate || left != c.left || known != c.known {
				t.Errorf("%v, %v, %v; want %v, %v, %v", rate, left, known, c.rate, c.left, c.known)
			}
		})
	}
}

func TestSamplesDoNotGrow(t *testing.T) {
	var samples []sample
	for i := range 10000 {
		samples = sampled(samples, sample{"a", noon.Add(time.Duration(i) * every), i})
	}
	if limit := int(window/every) + 1; len(samples) > limit {
		t.Errorf("%d samples, not %d", len(samples), limit)
	}
}

func TestThePaceIsHonest(t *testing.T) {
	for name, want := range map[string]struct {
		screen Screen
		line   string
	}{
		"running": {runningScreen(), "rate 2.5 links/s   left at least 6m"},
		"soaking": {soakingScreen(), "left at least"},
		"paused":  {pausedScreen(), "rate -   left -"},
		"ended":   {endedScreen(), "rate -   left nothing"},
	} {
		if got := at(t, 80, 24, want.screen, nil, nil).pace(); !strings.Contains(got, want.line) {
			t.Errorf("%s: %q does not say %q", name, got, want.line)
		}
	}
}

func TestCells(t *testing.T) {
	for _, c := range []struct {
		width  int
		counts []int
		want   []int
	}{
		{10, []int{0, 0}, []int{0, 0}},
		{10, []int{1, 1}, []int{5, 5}},
		{10, []int{1000, 1, 0, 1}, []int{8, 1, 0, 1}},
		{3, []int{1, 1, 1}, []int{1, 1, 1}},
		{0, []int{1, 1}, []int{0, 0}},
		{-5, []int{1, 1}, []int{0, 0}},
	} {
		if got := cells(c.width, c.counts...); !slices.Equal(got, c.want) {
			t.Errorf("cells(%d, %v) = %v, want %v", c.width, c.counts, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		width, counts, some := r.IntN(100), make([]int, 6), 0
		for i := range counts {
			if counts[i] = max(0, r.IntN(2000)-1000) * r.IntN(2) * r.IntN(1000); counts[i] > 0 {
				some++
			}
		}
		sum := 0
		for i, c := range cells(width, counts...) {
			sum += c
			if c < 0 || c > 0 && counts[i] == 0 || c == 0 && counts[i] > 0 && width >= some {
				t.Fatalf("cells(%d, %v)[%d] = %d", width, counts, i, c)
			}
		}
		if some > 0 && sum != width {
			t.Fatalf("cells(%d, %v) sum to %d", width, counts, sum)
		}
	}
}
