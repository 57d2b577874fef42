package rules

import (
	"context"
	"sync"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// maximumWait is how long the gate waits. The product lets the operator choose.
const maximumWait = 10 * time.Minute

// globalGate is the rule of HPE Aruba EdgeConnect Orchestrator.
//
// Read: "IPSec Pre-Shared Key Rotation" in the Orchestrator's user guide
// (arubanetworks.com/techdocs/sdwan). Key material goes to all appliances. It is
// activated when all active ones are reachable and have it, or when the maximum
// activation wait time is exceeded. One that is unreachable for longer than the
// rotation interval counts as inactive, and is given the current material before
// it may build tunnels again.
//
// Modelled: every end of every link is told of the new key. When all have
// answered, or when the wait is over, all senders change. Without a wait (zero) the
// gate stays shut until the last one has answered. Nothing was found about when
// the old key goes: receivers keep the key in use until the next but one comes.
//
// Limits: without its wait the gate is not the product's, which would count an end
// that is away for a period as inactive, and go on as if the wait were over.
func globalGate(wait time.Duration) Rule {
	name := "global gate, no maximum wait"
	if wait > 0 {
		name = "global gate, maximum wait 10 min"
	}
	return Rule{Name: name, Like: "HPE Aruba EdgeConnect", New: func(_ context.Context, w *World) func(context.Context, keychain.Epoch) {
		active := keychain.Epoch(1)
		var mu sync.Mutex
		return func(ctx context.Context, e keychain.Epoch) {
			mu.Lock()
			old := active
			mu.Unlock()
			w.running.Go(func() {
				var all []<-chan keychain.Report
				for _, l := range w.Links {
					all = append(all, l.Receiver.Ask(Wish{Accept: []keychain.Epoch{old, e}}),
						l.Sender.Ask(Wish{Send: old, ReadBack: true})) // it answers, so it has been told
				}
				until := ctx
				if wait > 0 {
					var cancel context.CancelFunc
					until, cancel = context.WithTimeout(ctx, scaled(wait))
					defer cancel()
				}
				for _, done := range all {
					came(until, done)
				}
				if ctx.Err() != nil {
					return // the next key is on its way
				}
				mu.Lock()
				active = e
				mu.Unlock()
				for _, l := range w.Links {
					l.Sender.Ask(Wish{Send: e})
				}
			})
		}
	}}
}
