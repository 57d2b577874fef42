package cli

import (
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// TestJournalsSupplyKeys is about which of several wrapped forms of one key is kept.
func TestJournalsSupplyKeys(t *testing.T) {
	form := func(kek, ciphertext string) keychain.Wrapped {
		return keychain.Wrapped{KEK: kek, Ciphertext: ciphertext}
	}
	journal := func(turn keychain.Turn, w keychain.Wrapped) store.Testimony {
		return store.Testimony{Turn: turn, Send: store.Wanted{Ref: keychain.Ref{Epoch: 4}, Wrapped: w}}
	}
	stored := form("k", "vault:v10:stored")
	for _, c := range []struct {
		name string
		said []store.Testimony
		want keychain.Wrapped
	}{
		{"nobody has it", []store.Testimony{{Turn: 9}}, stored},
		{"an agent that was away while it was wrapped anew", []store.Testimony{journal(9, form("k", "vault:v9:before"))}, stored},
		{"one that was there", []store.Testimony{journal(9, form("k", "vault:v11:anew")), journal(8, stored)}, form("k", "vault:v11:anew")},
		{"the same version, of the latest order", []store.Testimony{journal(9, form("k", "vault:v10:b")), journal(8, form("k", "vault:v10:a"))}, form("k", "vault:v10:b")},
		{"another KEK, of the latest order", []store.Testimony{journal(9, form("other", "vault:v1:moved"))}, form("other", "vault:v1:moved")},
	} {
		e := dossier{keys: store.Keys{4: stored}}
		if e.keep(c.said); e.keys[4] != c.want {
			t.Errorf("%s: %v, want %v", c.name, e.keys[4], c.want)
		}
	}
}
