package metrics

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const day = 24 * time.Hour

// heldSteps and ageSteps are the limits beyond which links are counted, rising.
func heldSteps() []time.Duration {
	return []time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, day, 7 * day}
}

func ageSteps() []time.Duration {
	return []time.Duration{time.Hour, day, 2 * day, 7 * day, 30 * day, 90 * day, 365 * day}
}

// names writes steps as label values: "10m", "6h", "7d".
func names(steps []time.Duration) []string {
	var all []string
	for _, s := range steps {
		switch {
		case s%day == 0:
			all = append(all, fmt.Sprintf("%dd", s/day))
		case s%time.Hour == 0:
			all = append(all, fmt.Sprintf("%dh", s/time.Hour))
		default:
			all = append(all, fmt.Sprintf("%dm", s/time.Minute))
		}
	}
	return all
}

// spread is a sorted list of durations, to be asked about.
type spread []time.Duration

// over is how many are longer than d.
func (s spread) over(d time.Duration) int {
	i, _ := slices.BinarySearch(s, d+1)
	return len(s) - i
}

// quantile is the smallest that is at least as long as a share q of all, in
// seconds; 0 of none.
func (s spread) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(s)))) - 1
	return s[min(max(i, 0), len(s)-1)].Seconds()
}
