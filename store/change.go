package store

import (
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Change is a new version of one link's record, made from the version that
// Record.Revision names (zero: from none).
type Change struct {
	Record link.Record `json:"record"`
	// Minted is the wrapped key of Record.State.To, when this change begins a
	// rotation; zero otherwise.
	Minted keychain.Wrapped `json:"minted,omitzero"`
	// MintedAt is what Store.Minting said before Minted was minted. When KEKs were
	// rotated meanwhile it has to be minted again, and the change is Stale.
	MintedAt int64 `json:"minted_at,omitempty"`
	// Confirmed is who confirmed the phase that this change ends: for the history.
	Confirmed []link.Confirmation `json:"confirmed,omitempty"`
	// Sites says where each node of the link stands.
	Sites map[keychain.NodeID]keychain.SiteID `json:"sites"`
}

// Committed is what became of one Change.
type Committed struct {
	Link keychain.LinkID
	// Revision is the record's new revision.
	Revision int64
	// Err is nil, or a fault: Stale when the record had moved on, Refused when the
	// change names a node without a site or a key that was never minted.
	Err error
}
