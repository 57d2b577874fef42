package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// triedAtOnce is how many wrapped keys Vault is asked about in one request.
const triedAtOnce = 128

// openable leaves out of cases the wrapped keys that Vault could not open any more. Every
// KEK has to be there: of one that is missing nobody knows whether it is yet to come
// back. Faults: Refused for that, those of Vault.
func (r *rescue) openable(ctx context.Context, cases []dossier) error {
	vault, err := r.app.openCustody(ctx)
	if err != nil {
		return err
	}
	under := map[string][]custody.Sealed{}
	at := map[keychain.LinkID]int{}
	total, lost := 0, 0
	for i, e := range cases {
		at[e.Link] = i
		for epoch, w := range e.keys {
			under[w.KEK] = append(under[w.KEK], custody.Sealed{Link: e.Link, Epoch: epoch, Wrapped: w})
			total++
		}
	}
	for kek, keys := range under {
		for part := range slices.Chunk(keys, triedAtOnce) {
			opens, err := vault.Opens(ctx, kek, part)
			if fault.Is(err, fault.Refused) {
				return fault.Wrap(fault.Refused, err, "ask vault which keys it can open (make KEKs with keyorch apply first)")
			}
			if err != nil {
				return err
			}
			for k, ok := range opens {
				if !ok {
					delete(cases[at[part[k].Link]].keys, part[k].Epoch)
					lost++
				}
			}
		}
	}
	_, err = fmt.Fprintf(r.app.err, "vault could open %d of %d wrapped keys\n", total-lost, total)
	return err
}
