package rules

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// MKA's times (IEEE 802.1X-2010; MKA_LIFE_TIME and MKA_SAK_RETIRE_TIME of
// wpa_supplicant).
const (
	mkaLifeTime   = 6 * time.Second
	mkaRetireTime = 3 * time.Second
)

// switchAfterTimer is the rule of MACsec Key Agreement, IEEE 802.1X.
//
// Read: the CP machine of wpa_supplicant, src/pae/ieee802_1x_cp.c, also in
// sonic-net/sonic-wpa-supplicant. The key server begins to transmit when all live
// peers receive, or when MKA Life Time, 6 s, has passed; the others follow it. The
// old key is deleted 3 s after one's own change. SONiC's key server keeps the old
// key until every live peer has changed; that is not modelled.
//
// Modelled: the receiver is told to accept both. Its sender changes when it has,
// or after 6 s. The receiver forgets the old key 3 s after that.
//
// Limits: MKA runs in band between the two ends of a link, whose keys are in
// hardware beside it. A peer whose MKA is silent for 6 s is no live peer any more,
// and what then becomes of its port is a matter of configuration. Here it stands
// for its rule: wait so long, then go on.
func switchAfterTimer() Rule {
	return Rule{Name: "switch after a timer (6 s)", Like: "IEEE 802.1X MKA", New: func(_ context.Context, w *World) func(context.Context, keychain.Epoch) {
		return func(ctx context.Context, e keychain.Epoch) {
			w.Each(func(l *Link) {
				within(ctx, l.Receiver.Ask(Wish{Accept: []keychain.Epoch{e - 1, e}}), mkaLifeTime)
				if ctx.Err() != nil {
					return
				}
				l.Sender.Ask(Wish{Send: e})
				if sleep(ctx, mkaRetireTime) {
					l.Receiver.Ask(Wish{Accept: []keychain.Epoch{e}})
				}
			})
		}
	}}
}
