package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

// spent is how long links were in each phase of one rotation, and how long the
// whole took, from the first phase entry to the last. Ended is when each link was
// Steady again.
type spent struct {
	phase map[link.Phase][]time.Duration
	whole []time.Duration
	ended map[keychain.LinkID]time.Time
}

// pastOf reads from the histories of links what they did since a time. A link
// that is not Steady again is left out.
func pastOf(b *testing.B, s *store.Store, links []keychain.LinkID, since time.Time) spent {
	b.Helper()
	past := make([][]link.Entry, len(links))
	var reading errgroup.Group
	reading.SetLimit(8)
	for i, id := range links {
		reading.Go(func() (err error) {
			for range 3 { // etcd may still be busy
				if past[i], err = s.History(b.Context(), id); err == nil {
					break
				}
			}
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		b.Fatal(err)
	}
	out := spent{phase: map[link.Phase][]time.Duration{}, ended: map[keychain.LinkID]time.Time{}}
	for i, entries := range past {
		entries = slices.DeleteFunc(entries, func(e link.Entry) bool { return e.At.Before(since) })
		if len(entries) == 0 || entries[len(entries)-1].Phase != link.Steady {
			continue
		}
		for n, e := range entries[1:] {
			was := entries[n]
			out.phase[was.Phase] = append(out.phase[was.Phase], e.At.Sub(was.At))
		}
		last := entries[len(entries)-1].At
		out.whole = append(out.whole, last.Sub(entries[0].At))
		out.ended[links[i]] = last
	}
	return out
}

// String is a line for each phase and one for the whole.
func (s spent) String() string {
	var b strings.Builder
	line := func(name string, all []time.Duration) {
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", name, len(all), seconds(quantile(all, 0.5)), seconds(quantile(all, 0.99)), seconds(quantile(all, 1)))
	}
	for _, p := range []link.Phase{link.Staging, link.Switching, link.Draining, link.Retiring} {
		line(p.String(), s.phase[p])
	}
	line("the whole rotation", s.whole)
	return "| phase | links | p50 | p99 | longest |\n| --- | ---: | ---: | ---: | ---: |\n" + b.String()
}

// quantile is the value below which a part q of all lies; zero of none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
