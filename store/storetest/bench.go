package storetest

import (
	"fmt"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

// Bench measures Commit of 200 links of two nodes, record and orders, and prints
// links a second.
func Bench(b *testing.B, srv Server) {
	e := newEnv(b, srv)
	s, err := store.Open(b.Context(), e.config)
	must(b, err)
	defer func() { _ = s.Close() }()
	const links = 200
	changes := make([]store.Change, links)
	for i := range changes {
		id := keychain.LinkID(fmt.Sprintf("link-%03d", i))
		st := step(b, link.New(ids("a"), ids("b")), link.Rotate{Epoch: 1, At: epochZero})
		changes[i] = store.Change{Record: link.Record{Link: id, State: st}, Minted: wrapped(id, 1), Sites: sites(st)}
	}
	for b.Loop() {
		out, err := s.Commit(b.Context(), changes)
		must(b, err)
		for i, c := range out {
			must(b, c.Err)
			changes[i].Record.Revision = c.Revision
			changes[i].Record.State.Turn++
		}
	}
	b.ReportMetric(float64(links*b.N)/b.Elapsed().Seconds(), "links/s")
}
