package entitlement

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Holding is one key of one link that a node was given.
type Holding struct {
	Link  keychain.LinkID `json:"link"`
	Epoch keychain.Epoch  `json:"epoch"`
	KCV   keychain.KCV    `json:"kcv,omitempty"`
	Node  keychain.NodeID `json:"node"`
	Site  keychain.SiteID `json:"site"`
	// Identities are those that could open it: that of the site, which opens what all its
	// nodes are given, and the node's own. Empty: the trail does not say who was enrolled.
	Identities []Access `json:"identities,omitempty"`
	// From is when the node was given it; zero: before the trail began.
	From time.Time `json:"from,omitzero"`
	// Until is when a receipt said that it is gone; zero: there is none yet.
	Until time.Time `json:"until,omitzero"`
	// Retired is when the link had done with the key; zero: it has not.
	Retired time.Time `json:"retired,omitzero"`
	// Left is when the node was no part of the link any more; Excluded, when it or its site
	// was to get no new keys.
	Left     time.Time `json:"left,omitzero"`
	Excluded time.Time `json:"excluded,omitzero"`
}

// Access is an identity that could open a key, as long as it was enrolled: from the
// beginning of the trail where From is zero, until now where Revoked is.
type Access struct {
	Identity string    `json:"identity"`
	From     time.Time `json:"from,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`
}

// Could reports whether the node may have had the key at t.
func (h Holding) Could(t time.Time) bool {
	return !h.From.After(t) && (h.Until.IsZero() || h.Until.After(t))
}

// Ends is until when it had the key, in words.
func (h Holding) Ends() string {
	if !h.Until.IsZero() {
		return stamp(h.Until)
	}
	var notes []string
	for _, n := range []struct {
		what string
		at   time.Time
	}{{"retired", h.Retired}, {"left the link", h.Left}, {"excluded", h.Excluded}} {
		if !n.at.IsZero() {
			notes = append(notes, n.what+" "+stamp(n.at))
		}
	}
	for _, a := range h.Identities {
		if !a.Revoked.IsZero() {
			notes = append(notes, a.Identity+" revoked "+stamp(a.Revoked))
		}
	}
	if len(notes) == 0 {
		return "in use"
	}
	return fmt.Sprintf("no receipt yet (%s)", strings.Join(notes, ", "))
}

// Names is the identities in one line.
func (h Holding) Names() string {
	if len(h.Identities) == 0 {
		return "not in the trail"
	}
	var names []string
	for _, a := range h.Identities {
		names = append(names, a.Identity)
	}
	return strings.Join(names, " ")
}

// Begins is since when it had the key, in words.
func (h Holding) Begins() string {
	if h.From.IsZero() {
		return "before the trail"
	}
	return stamp(h.From)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
