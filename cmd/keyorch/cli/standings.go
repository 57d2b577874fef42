package cli

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

const (
	// mostPasts is of how many links of an old campaign the history is read.
	mostPasts = 500
	// pastsAtOnce is how many of them at once.
	pastsAtOnce = 16
)

// standings is how every link of a campaign stands, wave by wave, with what holds
// those that are in flight. Links that later campaigns have taken up stand as they
// did when this one left them, where their history still knows.
//
// It is nil when that cannot be told: then the campaign's own tally is what is
// known.
func (s *sight) standings(ctx context.Context, r campaign.Record) ([][]campaign.Standing, error) {
	denied := map[keychain.LinkID]*campaign.Denial{}
	for _, d := range s.view.Denials(r.Name) {
		denied[d.Link] = &d
	}
	var out [][]campaign.Standing
	var moved []*campaign.Standing
	total := 0
	for _, wave := range r.Waves {
		batches, err := s.batches(ctx, r.Name, wave.First, wave.Count)
		if err != nil {
			return nil, err
		}
		var of []campaign.Standing
		for _, b := range batches {
			for _, id := range b.Links {
				of = append(of, s.stand(id, r, wave, denied[id]))
			}
		}
		for i := range of {
			if s.left(of[i], r) {
				moved = append(moved, &of[i])
			}
		}
		out, total = append(out, of), total+len(of)
	}
	if total == 0 || total < r.Tally.Links || len(moved) > mostPasts {
		return nil, nil
	}
	return out, s.recall(ctx, r, moved)
}

// stand is where one link stands in a campaign.
func (s *sight) stand(id keychain.LinkID, r campaign.Record, wave campaign.WaveStatus, denied *campaign.Denial) campaign.Standing {
	record, _ := s.view.Record(id)
	record.Link = id
	st := campaign.Stand(record, r.Name, wave.Begun, s.now, r.Wait, denied)
	if st.Outcome == string(link.Held) || st.Outcome == campaign.InFlight {
		x, _, _ := s.snapshot(id)
		st.Reason = cmp.Or(s.explained(id, x).Reason, st.Reason)
	}
	return st
}

// left reports whether a later campaign has come over what a link did in r, so
// that its record tells nothing of r any more.
func (s *sight) left(st campaign.Standing, r campaign.Record) bool {
	record, _ := s.view.Record(st.Link)
	return r.State == campaign.Ended && (st.Outcome == campaign.Superseded || st.Outcome == campaign.NotBegun) &&
		record.Last.Begun.After(r.Begun)
}

// recall reads how links ended in a campaign from their histories.
func (s *sight) recall(ctx context.Context, r campaign.Record, moved []*campaign.Standing) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pastsAtOnce)
	for _, st := range moved {
		g.Go(func() error {
			entries, err := s.history(ctx, st.Link)
			if len(entries) == 0 {
				return err
			}
			for _, e := range slices.Backward(entries) {
				if e.Campaign == r.Name && e.Outcome != "" {
					st.Outcome, st.Reason = string(e.Outcome), e.Reason
					break
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// inTrouble is those of a campaign's links that are not rotated, and not only
// waiting for their turn.
func inTrouble(waves [][]campaign.Standing) []campaign.Standing {
	out := []campaign.Standing{}
	for _, of := range waves {
		for _, st := range of {
			if st.Outcome != string(link.Rotated) && st.Outcome != campaign.NotBegun && (st.Outcome != campaign.InFlight || st.Reason != "") {
				out = append(out, st)
			}
		}
	}
	slices.SortFunc(out, func(a, b campaign.Standing) int {
		return cmp.Or(cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Link, b.Link))
	})
	return out
}
