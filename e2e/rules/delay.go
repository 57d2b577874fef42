package rules

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// activationDelay is Junos's activation-time-delay unless configured.
const activationDelay = 15 * time.Second

// fixedDelay is the rule of Junos Group VPN.
//
// Read: the chapters on key activation and rekeying of Group VPN in Juniper's
// documentation: a member uses a new key when twice the activation delay, 15 s, has
// passed since it was distributed, and keeps the two newest keys. Nobody answers a
// rekey that is sent by multicast.
//
// Modelled: the receiver is told to accept the two newest keys; its sender changes
// 30 s later.
//
// Limits: one key for a group there. A member that missed a key registers again
// before its key expires; here it goes on trying to get it all the time.
func fixedDelay() Rule {
	return Rule{Name: "twice a fixed delay (2 x 15 s)", Like: "Junos Group VPN", New: func(_ context.Context, w *World) func(context.Context, keychain.Epoch) {
		return func(ctx context.Context, e keychain.Epoch) {
			w.Each(func(l *Link) {
				l.Receiver.Ask(Wish{Accept: []keychain.Epoch{e - 1, e}})
				if sleep(ctx, 2*activationDelay) {
					l.Sender.Ask(Wish{Send: e})
				}
			})
		}
	}}
}
