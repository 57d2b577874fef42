package rules

import (
	"context"

	"github.com/keyorch/keyorch/keychain"
)

// onePeriodBehind is the rule of Docker Swarm's encrypted overlay networks.
//
// Read: moby/swarmkit manager/keymanager (a new key every 12 h, a ring of three,
// all three made at the start, no answers) and moby/libnetwork, drivers/overlay:
// nodes accept all three and send with the middle one, which was handed out a
// period ago.
//
// Modelled: at every period the ring moves by one. Both ends are told the whole
// ring; each does what follows from it when it hears of it.
//
// Limits: the period is that of the other rules, 30 min in place of 12 h. A node
// that is away for good is cut off two periods later in either case.
func onePeriodBehind() Rule {
	return Rule{Name: "one period behind, ring of three", Like: "Docker Swarm", New: func(ctx context.Context, w *World) func(context.Context, keychain.Epoch) {
		for _, l := range w.Links {
			came(ctx, l.Receiver.Ask(Wish{Accept: []keychain.Epoch{1, 2}}))
		}
		return func(_ context.Context, e keychain.Epoch) {
			w.Each(func(l *Link) {
				l.Receiver.Ask(Wish{Accept: []keychain.Epoch{e - 1, e, e + 1}})
				l.Sender.Ask(Wish{Send: e})
			})
		}
	}}
}
