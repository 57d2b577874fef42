package keychain_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/keyorch/keyorch/keychain"
)

// last is the Serial before the wrap.
const last keychain.Serial = math.MaxUint32 - 256

// places are where the numbers wrap, the wrap of Serial itself among them.
func places() []keychain.Serial {
	at := []keychain.Serial{0, 1, 2, 3, 4, 253, 254, 255, 256, 509, 510, last - 1, last}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		at = append(at, keychain.Serial(r.Uint32N(uint32(last))))
	}
	return at
}

// Two keys that live side by side have neighbouring Serials: none of their
// numbers may be the same.
func TestNeighboursShareNoWireNumber(t *testing.T) {
	for _, s := range places() {
		n := s.Next()
		if s.AN() == n.AN() || s.SPI() == n.SPI() || s.KeyID() == n.KeyID() {
			t.Errorf("serials %d and %d share a number: AN %d and %d, SPI %d and %d, key id %d and %d",
				s, n, s.AN(), n.AN(), s.SPI(), n.SPI(), s.KeyID(), n.KeyID())
		}
	}
}

func TestWireNumbersStayInRange(t *testing.T) {
	for _, s := range places() {
		if s.AN() > 3 || s.SPI() < 256 || s.KeyID() < 1 {
			t.Errorf("serial %d: AN %d, SPI %d, key id %d", s, s.AN(), s.SPI(), s.KeyID())
		}
	}
}

func TestWireNumbersWrap(t *testing.T) {
	for s, want := range map[keychain.Serial][3]uint32{
		1: {1, 257, 2}, 3: {3, 259, 4}, 4: {0, 260, 5}, 254: {2, 510, 255}, 255: {3, 511, 1},
		last: {3, math.MaxUint32, 255}, last.Next(): {0, 256, 1},
	} {
		if got := [3]uint32{uint32(s.AN()), uint32(s.SPI()), uint32(s.KeyID())}; got != want {
			t.Errorf("serial %d: AN, SPI, key id are %v, want %v", s, got, want)
		}
	}
}
