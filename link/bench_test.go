package link_test

import (
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// BenchmarkRotation is the machine's part of one rotation, for a link with two
// nodes on each side: ten events.
func BenchmarkRotation(b *testing.B) {
	s := link.New([]keychain.NodeID{"u1", "u2"}, []keychain.NodeID{"d1", "d2"})
	for b.Loop() {
		s = run(b, s, link.Rotate{Epoch: s.Highest + 1})
	}
}

func BenchmarkStep(b *testing.B) {
	s := link.New([]keychain.NodeID{"u1", "u2"}, []keychain.NodeID{"d1", "d2"})
	s = must(b, s, link.Rotate{Epoch: 1})
	e := obeyed(s, "d1")
	b.ReportAllocs()
	for b.Loop() {
		must(b, s, e)
	}
}

func BenchmarkOrders(b *testing.B) {
	s := link.New([]keychain.NodeID{"u1", "u2"}, []keychain.NodeID{"d1", "d2"})
	s = must(b, s, link.Rotate{Epoch: 1})
	b.ReportAllocs()
	for b.Loop() {
		link.Orders(s)
	}
}
