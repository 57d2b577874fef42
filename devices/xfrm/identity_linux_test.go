package xfrm

import (
	"math"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/keyorch/keyorch/keychain"
)

func TestAnSASaysWhichKeyItIs(t *testing.T) {
	for _, inner := range []string{"10.1.0.0/16", "2001:db8::/32"} {
		for _, want := range []keychain.Ref{{Epoch: 1, KCV: "0000000000"}, {Epoch: maxEpoch, KCV: "a1b2c3d4e5"}} {
			m := markOf("a-b")
			s := netlink.XfrmState{Reqid: int(want.Epoch), Selector: m.write(want, netip.MustParsePrefix(inner))}
			if got, ok := m.parse(s); !ok || got != want {
				t.Errorf("%s: got %v %v, want %v", inner, got, ok, want)
			}
			if got, ok := markOf("b-a").parse(s); ok {
				t.Errorf("%s: another link takes it for its %v", inner, got)
			}
			if inner == "2001:db8::/32" {
				s.Reqid = 7
				if got, ok := m.parse(s); ok {
					t.Errorf("it takes an SA with another request ID for %v", got)
				}
			}
		}
	}
}

func TestSPIs(t *testing.T) {
	for _, link := range []keychain.LinkID{"a-b", "b-a", "dc1-dc2"} {
		for _, s := range []keychain.Serial{0, 1, 1000, math.MaxUint32 - 256} {
			a, b := SPI(link, s), SPI(link, s.Next())
			if a < 256 || b < 256 || b != a+1 && b != 256 {
				t.Errorf("%s: serials %d and %d give 0x%x and 0x%x", link, s, s.Next(), a, b)
			}
		}
	}
	if SPI("a-b", 1) == SPI("b-a", 1) {
		t.Error("two links share an SPI")
	}
}

// FuzzParse wants no selector of anybody else to be taken for a key, and no panic.
func FuzzParse(f *testing.F) {
	f.Add(uint32(1), []byte{10, 0, 0, 0}, []byte{10, 0, 0, 1}, 0, 0)
	f.Add(uint32(0), []byte(nil), []byte{1, 2, 3}, 24, 128)
	f.Fuzz(func(t *testing.T, reqid uint32, from, to []byte, fromBits, toBits int) {
		m := markOf("a-b")
		s := netlink.XfrmState{Reqid: int(reqid), Selector: &netlink.XfrmPolicy{
			Src: &net.IPNet{IP: from, Mask: net.CIDRMask(fromBits, 8*len(from))},
			Dst: &net.IPNet{IP: to, Mask: net.CIDRMask(toBits, 8*len(to))},
		}}
		r, ok := m.parse(s)
		if !ok {
			return
		}
		inner := netip.MustParsePrefix("2001:db8::/32")
		if len(from) == net.IPv4len || net.IP(from).To4() != nil {
			inner = netip.MustParsePrefix("10.0.0.0/8")
		}
		again := netlink.XfrmState{Reqid: int(reqid), Selector: m.write(r, inner)}
		if back, ok := m.parse(again); !ok || back != r || r.Epoch != keychain.Epoch(reqid) {
			t.Errorf("read %v, which reads back as %v %v", r, back, ok)
		}
	})
}
