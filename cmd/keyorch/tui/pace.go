package tui

import "time"

// The pace is told over window at most, and only when the samples span least:
// less would be a guess.
const (
	window = 15 * time.Second
	least  = 2 * time.Second
)

// sample is how far a campaign was at one time.
type sample struct {
	campaign string
	at       time.Time
	rotated  int
}

// sampleOf is the sample in a screen; false when no campaign is shown.
func sampleOf(s Screen) (sample, bool) {
	if s.Campaign == nil {
		return sample{}, false
	}
	return sample{campaign: s.Campaign.Name, at: s.Now, rotated: s.total().Rotated}, true
}

// sampled is samples and s, without what is too old. Another campaign, a count
// that fell and a clock that went back begin anew.
func sampled(samples []sample, s sample) []sample {
	if n := len(samples); n > 0 {
		last := samples[n-1]
		if last.campaign != s.campaign || s.rotated < last.rotated || s.at.Before(last.at) {
			samples = nil
		}
	}
	from := 0
	for from < len(samples) && s.at.Sub(samples[from].at) > window {
		from++
	}
	return append(samples[from:len(samples):len(samples)], s)
}

// pace is how many links a second were rotated lately, and how long the open ones
// take at that rate. known is false when there is not enough to tell, or nothing
// moves.
func pace(samples []sample, open int) (rate float64, left time.Duration, known bool) {
	if len(samples) < 2 {
		return 0, 0, false
	}
	first, last := samples[0], samples[len(samples)-1]
	took, moved := last.at.Sub(first.at), last.rotated-first.rotated
	if took < least || moved <= 0 {
		return 0, 0, false
	}
	rate = float64(moved) / took.Seconds()
	return rate, time.Duration(float64(open) / rate * float64(time.Second)), true
}
