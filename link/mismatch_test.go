package link_test

import (
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// TestAMismatchConfirmsNothing has the first node to report a new epoch say itself
// that it has another key than the one that it unwrapped.
func TestAMismatchConfirmsNothing(t *testing.T) {
	s := link.New([]keychain.NodeID{"u"}, []keychain.NodeID{"d"})
	s, err := link.Step(s, link.Rotate{Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	wrong := keychain.Report{Node: "d", Turn: s.Turn, Accepts: []keychain.Ref{{Epoch: 1, KCV: "0badbadbad"}}, Fault: "mismatch"}
	after, _ := link.Step(s, link.Reported{Report: wrong})
	if len(after.Awaiting) != 1 || after.To.KCV != "" {
		t.Errorf("it awaits %v and believes in %v", after.Awaiting, after.To.Ref)
	}
	wrong.Fault = ""
	if after, _ = link.Step(s, link.Reported{Report: wrong}); len(after.Awaiting) != 0 {
		t.Error("without the fault it is not confirmed either: this test shows nothing")
	}
}
