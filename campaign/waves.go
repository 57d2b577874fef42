package campaign

import (
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// fewLinks is how many links are rotated at once when the policy has no waves.
const fewLinks = 10

// Wave is the links of one wave, in the order in which they are dealt to
// batches, and how long the campaign waits after them.
type Wave struct {
	Name  string            `json:"name"`
	Links []keychain.LinkID `json:"links"`
	Soak  time.Duration     `json:"soak,omitempty"`
}

// Waves deals links to the waves of p. Every link is in exactly one wave, however
// often it is named. A wave without a selector takes links until the campaign has
// taken up its size, one with a selector takes links that match and have not been
// taken; the last one takes what is left, whatever it says. Each takes its links
// from all sites in turn. Waves that would be empty are left out.
//
// A policy without waves means all links at once when there are at most ten, and
// otherwise one link ("canary"), then a tenth of all ("tenth"), then the rest.
//
// The same input gives the same waves. A selector that does not parse, which
// package topology does not let pass, matches nothing.
func Waves(p topology.Policy, t topology.Topology, links []keychain.LinkID) []Wave {
	left := interleave(t, links)
	total := len(left)
	var waves []Wave
	parts := wavesOf(p, total)
	for i, w := range parts {
		var take []keychain.LinkID
		switch {
		case i == len(parts)-1:
			take = left
		case w.Selector != "":
			take = interleave(t, matching(w.Selector, t, left))
			if !w.Size.IsZero() {
				take = take[:w.Size.Of(len(take))]
			}
		default:
			take = left[:min(len(left), max(0, w.Size.Of(total)-(total-len(left))))]
		}
		if len(take) == 0 {
			continue
		}
		taken := make(map[keychain.LinkID]bool, len(take))
		for _, l := range take {
			taken[l] = true
		}
		name := w.Name
		if name == "" {
			name = fmt.Sprintf("wave %d", i+1)
		}
		waves = append(waves, Wave{Name: name, Links: slices.Clone(take), Soak: w.Soak})
		left = interleave(t, slices.DeleteFunc(slices.Clone(left), func(l keychain.LinkID) bool { return taken[l] }))
	}
	return waves
}

// wavesOf are the waves of a policy for so many links.
func wavesOf(p topology.Policy, total int) []topology.Wave {
	switch {
	case len(p.Waves) > 0:
		return p.Waves
	case total <= fewLinks:
		return []topology.Wave{{Name: "all"}}
	}
	return []topology.Wave{
		{Name: "canary", Size: topology.Amount{Number: 1}},
		{Name: "tenth", Size: topology.Amount{Percent: 10}},
		{Name: "rest"},
	}
}

// interleave gives each of links once: one of every downstream site in turn, the
// sites and the links of each sorted by name. A link with several downstream
// sites counts for the first of them.
func interleave(t topology.Topology, links []keychain.LinkID) []keychain.LinkID {
	at := map[keychain.SiteID][]keychain.LinkID{}
	var sites []keychain.SiteID
	sorted := slices.Compact(slices.Sorted(slices.Values(links)))
	for _, id := range sorted {
		var site keychain.SiteID
		if l, ok := t.Link(id); ok {
			if all := t.SitesOf(l.Downstream); len(all) > 0 {
				site = all[0]
			}
		}
		if at[site] == nil {
			sites = append(sites, site)
		}
		at[site] = append(at[site], id)
	}
	slices.Sort(sites)
	out := make([]keychain.LinkID, 0, len(sorted))
	for round := 0; len(out) < len(sorted); round++ {
		for _, s := range sites {
			if round < len(at[s]) {
				out = append(out, at[s][round])
			}
		}
	}
	return out
}

// Batches deals the links of each wave to batches of at most size links (less
// than one is one), as few as hold them and none more than one link fuller than
// another. Batches are numbered over the whole campaign; the links of each are
// sorted. The statuses have the size of each wave in their tally, and nothing
// begun.
func Batches(waves []Wave, size int) ([]WaveStatus, []Batch) {
	size = max(size, 1)
	var statuses []WaveStatus
	var batches []Batch
	for i, w := range waves {
		count := (len(w.Links) + size - 1) / size
		statuses = append(statuses, WaveStatus{Name: w.Name, First: len(batches), Count: count, Soak: w.Soak, Tally: Tally{Links: len(w.Links)}})
		for k := range count {
			b := Batch{Number: len(batches), Wave: i}
			for j := k; j < len(w.Links); j += count {
				b.Links = append(b.Links, w.Links[j])
			}
			slices.Sort(b.Links)
			batches = append(batches, b)
		}
	}
	return statuses, batches
}

// batchLinks is how many links the batch with index k of a wave has, as Batches
// deals them.
func (w WaveStatus) batchLinks(k int) int {
	n := w.Tally.Links / w.Count
	if k < w.Tally.Links%w.Count {
		n++
	}
	return n
}
