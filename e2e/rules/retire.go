package rules

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// ciliumRetires is Cilium's ipsec-key-rotation-duration unless configured.
const ciliumRetires = 5 * time.Minute

// retireAfterTimer is the rule of Cilium's IPsec.
//
// Read: cilium/cilium, option ipsec-key-rotation-duration (5 min) and the pull
// request that made it an option (#24811: after that time the old key is removed,
// and where the new one has not come by then communication breaks); #44335, since
// which a node publishes the new SPI only when its receive states exist, so that
// nobody sends with a key that the receiver lacks; #27319.
//
// Modelled: both ends hear of the new key at once. The sender changes when the
// receiver accepts it. A receiver forgets the old key five minutes after it got the
// new one, whatever the sender does.
//
// Limits: one key for the whole cluster there, one for each link here. The states
// by which a Cilium node sends are deleted by the same timer; that would silence a
// sender that the rule here lets go on.
func retireAfterTimer() Rule {
	return Rule{Name: "retire after a timer (5 min)", Like: "Cilium IPsec", New: func(_ context.Context, w *World) func(context.Context, keychain.Epoch) {
		return func(ctx context.Context, e keychain.Epoch) {
			w.Each(func(l *Link) {
				if !came(ctx, l.Receiver.Ask(Wish{Accept: []keychain.Epoch{e - 1, e}})) {
					return
				}
				l.Sender.Ask(Wish{Send: e})
				if sleep(ctx, ciliumRetires) {
					l.Receiver.Ask(Wish{Accept: []keychain.Epoch{e}})
				}
			})
		}
	}}
}
