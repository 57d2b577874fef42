package campaign_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

func TestWhatMayBeAsked(t *testing.T) {
	waves := []campaign.WaveStatus{{Name: "w1"}, {Name: "w2"}}
	in := func(s campaign.State) campaign.Record {
		return campaign.Record{Name: "c1", State: s, Reason: "lunch", Waves: waves}
	}
	failed := in(ended)
	failed.Tally = tally{Links: 3, Rotated: 2, Held: 1}
	last := in(running)
	last.Wave = 1
	promoted := in(running)
	promoted.Waves = []campaign.WaveStatus{{Name: "w1", Promoted: true}, {Name: "w2"}}
	for _, c := range []struct {
		what string
		err  error
		want string // a part of the error; empty: allowed
	}{
		{"pause running", in(running).CanPause(), ""},
		{"pause paused", in(paused).CanPause(), "pause campaign c1: it is paused already (lunch): keyorch resume c1"},
		{"pause aborting", in(aborting).CanPause(), "it is being aborted"},
		{"pause ended", in(ended).CanPause(), "it has ended: lunch"},
		{"resume paused", in(paused).CanResume(), ""},
		{"resume running", in(running).CanResume(), "it is not paused"},
		{"resume aborting", in(aborting).CanResume(), "cannot be taken back: keyorch retry c1"},
		{"resume ended", in(ended).CanResume(), "it has ended"},
		{"abort running", in(running).CanAbort(), ""},
		{"abort paused", in(paused).CanAbort(), ""},
		{"abort aborting", in(aborting).CanAbort(), "aborted already"},
		{"abort ended", in(ended).CanAbort(), "keyorch abort LINK"},
		{"promote running", in(running).CanPromote(), ""},
		{"promote the last wave", last.CanPromote(), "last wave"},
		{"promote twice", promoted.CanPromote(), "promoted already"},
		{"promote paused", in(paused).CanPromote(), "keyorch resume c1 first"},
		{"promote aborting", in(aborting).CanPromote(), "it is being aborted"},
		{"promote ended", in(ended).CanPromote(), "it has ended"},
		{"retry with failures", failed.CanRetry(), ""},
		{"retry without", in(ended).CanRetry(), "none of its links is held"},
		{"retry running without", in(running).CanRetry(), "none of its links is held"},
		{"retry aborting", in(aborting).CanRetry(), "still going back"},
	} {
		if c.want == "" && c.err != nil || c.want != "" && (!fault.Is(c.err, fault.Refused) || !strings.Contains(c.err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.what, c.err, c.want)
		}
	}
}

// TestCampaignsEnd drives campaigns through any news and wishes. The checks of
// driven hold after every step (each batch is launched once and in its order,
// never while stopped; asked again nothing changes), and with time alone every
// campaign ends, or is paused.
func TestCampaignsEnd(t *testing.T) {
	ends := map[campaign.State]int{}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		on := []topology.OnSpent{topology.PauseWhenSpent, topology.AbortWhenSpent}[r.IntN(2)]
		sizes := make([]int, 1+r.IntN(4))
		for i := range sizes {
			sizes[i] = 1 + r.IntN(45)
		}
		d := begin(t, on, sizes...)
		for step := range 200 {
			asks := campaign.Asks{}
			if step < 12 {
				asks = campaign.Asks{Pause: r.IntN(20) == 0, Resume: r.IntN(3) == 0, Abort: r.IntN(100) == 0, Promote: r.IntN(10) == 0, Idle: r.IntN(30) == 0}
			}
			before := d.r.State
			d.ask(asks)
			if before == ended && d.r.State != ended || before == aborting && d.r.State != ended && d.r.State != aborting {
				t.Fatalf("seed %d: from %s to %s", seed, before, d.r.State)
			}
			if before == paused && d.r.State == running && !asks.Resume {
				t.Fatalf("seed %d: resumes by itself", seed)
			}
			d.news(r)
			d.now += time.Duration(r.IntN(240)) * time.Second
		}
		ends[d.r.State]++
		if s := d.r.State; s != ended && s != paused {
			t.Fatalf("seed %d: %s after 200 steps: %+v", seed, s, d.r)
		}
		if d.r.State == ended && !d.r.Aborted && d.number < d.r.Waves[len(sizes)-1].First+d.r.Waves[len(sizes)-1].Count {
			t.Fatalf("seed %d: ended with %d batches launched", seed, d.number)
		}
	}
	if ends[ended] < 50 || ends[paused] < 20 {
		t.Errorf("the ends are %v: this tries too little", ends)
	}
}

// news moves some links that were launched.
func (d *driven) news(r *rand.Rand) {
	for i, w := range d.r.Waves {
		c := d.waves[i]
		launched := 0
		for k := range w.Launched {
			launched += w.Tally.Links / w.Count
			if k < w.Tally.Links%w.Count {
				launched++
			}
		}
		if n := launched - c.Done() - c.InFlight; n > 0 {
			c.InFlight += r.IntN(n + 1)
		}
		for range r.IntN(c.InFlight + 1) {
			c.InFlight--
			to := []*int{&c.Rotated, &c.Rotated, &c.Rotated, &c.Rotated, &c.Rotated, &c.Rotated, &c.Held, &c.Aborted, &c.Skipped}[r.IntN(9)]
			*to++
		}
		if c.Held > 0 && r.IntN(3) == 0 {
			c.Held, c.Rotated = c.Held-1, c.Rotated+1
		}
		d.waves[i] = c
	}
}
