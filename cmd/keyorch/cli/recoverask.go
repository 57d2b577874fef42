package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// mentioned is how long recover waits before it says for whom.
const mentioned = 3 * time.Second

// hear asks the agents, and waits for their answers.
func (r *rescue) hear(ctx context.Context) ([]store.Testimony, error) {
	if err := r.store.Inquire(ctx, r.id, r.asked); err != nil {
		return nil, err
	}
	defer func() { _ = r.store.EndInquiry(context.WithoutCancel(ctx)) }() // the next one takes it back as well
	expected := 0
	for _, links := range r.asked {
		expected += len(links)
	}
	over := time.NewTimer(r.wait)
	defer over.Stop()
	say := time.NewTimer(mentioned)
	defer say.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := r.store.Answers(ctx)
		if err != nil {
			return nil, err
		}
		if n >= expected {
			return r.store.Testimonies(ctx, r.id)
		}
		select {
		case <-tick.C:
		case <-say.C:
			said, err := r.store.Testimonies(ctx, r.id)
			if err != nil && !fault.Is(err, fault.Mismatch) {
				return nil, err
			}
			r.tell("waiting up to %v for", said)
		case <-over.C:
			said, err := r.store.Testimonies(ctx, r.id)
			r.tell("no answer within %v from", said)
			return said, err
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "wait for the agents: no record was written")
		}
	}
}

// silent is the nodes that have not answered for all of their links, and the links.
func (r *rescue) silent(said []store.Testimony) (nodes []string, links []keychain.LinkID) {
	heard := map[store.Place]map[keychain.LinkID]bool{}
	for _, t := range said {
		at := store.Place{Site: t.Site, Node: t.Node}
		if heard[at] == nil {
			heard[at] = map[keychain.LinkID]bool{}
		}
		heard[at][t.Link] = true
	}
	for at, asked := range r.asked {
		missing := slices.DeleteFunc(slices.Clone(asked), func(a store.Asked) bool { return heard[at][a.Link] })
		if len(missing) == 0 {
			continue
		}
		nodes = append(nodes, fmt.Sprintf("%s (site %s: %d of %d links)", at.Node, at.Site, len(asked)-len(missing), len(asked)))
		for _, a := range missing {
			links = append(links, a.Link)
		}
	}
	slices.Sort(nodes)
	slices.Sort(links)
	return nodes, slices.Compact(links)
}

// tell names who has not answered, and says what waiting means.
func (r *rescue) tell(how string, said []store.Testimony) {
	nodes, links := r.silent(said)
	if len(nodes) == 0 {
		return
	}
	_, _ = fmt.Fprintf(r.app.err, how+" %s\n", r.wait, strings.Join(nodes, ", "))
	_, _ = fmt.Fprintf(r.app.err, "%d of %d links wait for them: they go on with the keys that they have, and are not rotated; nothing is written for them\n",
		len(links), len(r.chosen()))
}
