package link_test

import (
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// TestNobodyWaitsForWhoHasLostABareKey has a link go back to a key that nobody can supply
// any more. d2 does not have it, and does not forget the only key that it has.
func TestNobodyWaitsForWhoHasLostABareKey(t *testing.T) {
	key := func(e keychain.Epoch, bare bool) link.Key {
		return link.Key{Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf([5]byte{byte(e)})}, Serial: keychain.Serial(e), Bare: bare}
	}
	for _, c := range []struct {
		name string
		bare bool
		want link.Phase
	}{
		{"a key that nobody can supply", true, link.Steady},
		{"a key that its agent can open", false, link.Retiring},
	} {
		s := link.State{
			Phase: link.Retiring, From: key(3, true), To: key(2, c.bare), Highest: 3, Turn: 9, Reverting: true,
			Upstream: []keychain.NodeID{"u"}, Downstream: []keychain.NodeID{"d1", "d2"}, Awaiting: []keychain.NodeID{"d1", "d2"},
		}
		for _, r := range []keychain.Report{
			{Node: "d1", Turn: 9, Accepts: []keychain.Ref{s.To.Ref}},
			{Node: "d2", Turn: 9, Accepts: []keychain.Ref{s.From.Ref}},
		} {
			after, err := link.Step(s, link.Reported{Report: r})
			if err != nil {
				t.Fatal(err)
			}
			s = after
		}
		if s.Phase != c.want {
			t.Errorf("%s: it is %v, awaiting %v", c.name, s.Phase, s.Awaiting)
		}
	}
}
