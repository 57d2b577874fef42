package rules

import (
	"context"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Broken is keyorch's rule with other orders.
func Broken(name string, orders func(link.State) []link.Order) Rule {
	return Rule{Name: name, New: func(ctx context.Context, w *World) func(context.Context, keychain.Epoch) {
		return drive(ctx, w, orders)
	}}
}
