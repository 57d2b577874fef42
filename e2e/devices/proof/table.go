package proof

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/link"
)

// Row is what was proven of one kind of device.
type Row struct {
	Kind      string
	Rotations int // completed, or aborted after the switch, under counted traffic
	Packets   int
	Lost      int
	Tolerated int    // of Lost, what the nature of the protocol may cost
	Control   string // what the wrong order cost
	Reused    int
	// Stage and Switch are how long the phases took, from the order to the last
	// confirmation.
	Stage, Switch Times
}

// Times are the median and the 99th percentile of a few durations.
type Times struct{ P50, P99 time.Duration }

func timesOf(all []time.Duration) Times {
	if len(all) == 0 {
		return Times{}
	}
	slices.Sort(all)
	at := func(percent int) time.Duration { return all[min(len(all)-1, len(all)*percent/100)] }
	return Times{at(50), at(99)}
}

func (t Times) String() string {
	return fmt.Sprintf("%d / %d ms", t.P50.Milliseconds(), t.P99.Milliseconds())
}

// Table is the rows in Markdown.
func Table(rows []Row) string {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.Kind, b.Kind) })
	var b strings.Builder
	b.WriteString("| device | rotations | packets | lost | wrong order | stage p50 / p99 | switch p50 / p99 |\n")
	b.WriteString("| --- | ---: | ---: | ---: | --- | ---: | ---: |\n")
	for _, r := range rows {
		lost := fmt.Sprint(r.Lost)
		if r.Tolerated > 0 {
			lost += fmt.Sprintf(" (at most %d)", r.Tolerated)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %s | %v | %v |\n", r.Kind, r.Rotations, r.Packets, lost, r.Control, r.Stage, r.Switch)
	}
	return b.String()
}

// times takes from the histories of the links how long Staging and Switching took
// in rotations that were completed and in which nothing was made to fail.
func (p *script) times() (stage, change Times) {
	var stages, switches []time.Duration
	for _, l := range p.Links {
		var past struct {
			Entries []link.Entry `json:"entries"`
		}
		said := p.Verb(p.T, 0, "history", string(l), "-o", "json")
		if err := json.Unmarshal([]byte(said.Out), &past); err != nil {
			p.Fatalf("history -o json: %v", err)
		}
		for i, e := range past.Entries {
			// The KCV of a new key is known once the first node has confirmed it.
			if i == 0 || e.From.IsZero() || past.Entries[i-1].To.Epoch != e.To.Epoch || e.Reason != "" || e.To.Epoch == p.held[l] {
				continue
			}
			took := e.At.Sub(past.Entries[i-1].At)
			switch {
			case e.Phase == link.Switching:
				stages = append(stages, took)
			case e.Phase == link.Draining:
				switches = append(switches, took)
			}
		}
	}
	return timesOf(stages), timesOf(switches)
}
