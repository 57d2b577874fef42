package secy

import (
	"bytes"
	"encoding/binary"
	"net"
	"reflect"
	"testing"

	"github.com/mdlayher/netlink"
)

// marshal makes the bytes of attributes, as the kernel does.
func marshal(t testing.TB, attrs ...netlink.Attribute) []byte {
	t.Helper()
	b, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func u64(t uint16, v uint64) netlink.Attribute {
	return raw(t, binary.NativeEndian.AppendUint64(nil, v))
}

// dumped is an interface as the kernel shows it.
func dumped(t testing.TB, suite Suite) []byte {
	pn := u32(saPN, 42)
	if suite.XPN() {
		pn = u64(saPN, 1<<33+42)
	}
	id := [KeyIDSize]byte{'k', 'y', 'o'}
	sa := marshal(t, u8(saAN, 3), pn, raw(saKeyID, id[:]), u8(saActive, 1), nested(saStats, marshal(t, u32(saInOK, 7), u32(4, 1))))
	list := marshal(t, nested(1, sa))
	peer := NewSCI(net.HardwareAddr{2, 0, 0, 0, 0, 0xb}, 1)
	sc := marshal(t, u8(rxscActive, 1), raw(rxscSCI, peer[:]), nested(rxscSAList, list), nested(rxscStats, marshal(t, u64(rxscNotUsingSA, 5))))
	own := NewSCI(net.HardwareAddr{2, 0, 0, 0, 0, 0xa}, 2)
	return marshal(t, u32(attrIfindex, 12),
		nested(attrSecY, marshal(t, raw(secySCI, own[:]), u64(secySuite, uint64(suite)), u8(secyEncodingSA, 3), u8(secyProtect, 1))),
		nested(attrTXSAList, list), nested(attrRXSCList, marshal(t, nested(1, sc))))
}

func TestASecYIsReadAsTheKernelShowsIt(t *testing.T) {
	for suite, pn := range map[Suite]uint64{GCMAES128: 42, GCMAESXPN256: 1<<33 + 42} {
		index, s, err := parseSecY(dumped(t, suite))
		sa := SA{AN: 3, Active: true, PN: pn, KeyID: [KeyIDSize]byte{'k', 'y', 'o'}, OK: 7}
		want := SecY{
			SCI: SCI{2, 0, 0, 0, 0, 0xa, 0, 2}, Suite: suite, Protect: true, EncodingSA: 3, TXSAs: []SA{sa},
			RXSCs: []RXSC{{SCI: SCI{2, 0, 0, 0, 0, 0xb, 0, 1}, Active: true, SAs: []SA{sa}, NotUsingSA: 5}},
		}
		if err != nil || index != 12 || !reflect.DeepEqual(s, want) {
			t.Errorf("%v: index %d, %+v (%v), want %+v", suite, index, s, err, want)
		}
	}
	if _, s, err := parseSecY(dumped(t, gcmAES128Old)); err != nil || s.Suite != GCMAES128 {
		t.Errorf("the old number of GCM-AES-128 is read as %v (%v)", s.Suite, err)
	}
}

func TestAnswersThatMakeNoSense(t *testing.T) {
	list := func(sa ...netlink.Attribute) []byte {
		return marshal(t, nested(attrTXSAList, marshal(t, nested(1, marshal(t, sa...)))))
	}
	for name, b := range map[string][]byte{
		"cut short":             dumped(t, GCMAES128)[:50],
		"no attribute":          {1, 2, 3},
		"a fifth AN":            list(u8(saAN, 4)),
		"a packet number of 2":  list(raw(saPN, []byte{1, 2})),
		"a key identifier of 3": list(raw(saKeyID, []byte{1, 2, 3})),
		"an SCI of 4":           marshal(t, nested(attrSecY, marshal(t, raw(secySCI, []byte{1, 2, 3, 4})))),
	} {
		if _, s, err := parseSecY(b); err == nil {
			t.Errorf("%s is read as %+v", name, s)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, ifinfomsgSize-1), append(make([]byte, ifinfomsgSize), 1, 2, 3)} {
		if _, kind, err := parseLink(b); err == nil {
			t.Errorf("%x is read as an interface of kind %q", b, kind)
		}
	}
}

func TestAnInterfaceIsReadWithItsKind(t *testing.T) {
	info := make([]byte, ifinfomsgSize)
	binary.NativeEndian.PutUint32(info[4:], 9)
	b := append(info, marshal(t, raw(iflaIfname, []byte("macsec0\x00")), nested(iflaLinkInfo, marshal(t, raw(infoKind, []byte("macsec\x00")))))...)
	if index, kind, err := parseLink(b); err != nil || index != 9 || kind != "macsec" {
		t.Errorf("index %d, kind %q (%v)", index, kind, err)
	}
}

func TestANewSABeginsAtOne(t *testing.T) {
	key := Key{ID: [KeyIDSize]byte{1}, Bytes: []byte("0123456789abcdef"), Salt: make([]byte, SaltSize), SSCI: 1}
	var sa SA
	ad, err := netlink.NewAttributeDecoder(marshal(t, newSA(GCMAES128, 2, key)...))
	if err != nil || sa.parse(ad) != nil || sa != (SA{AN: 2, Active: true, PN: 1, KeyID: key.ID}) {
		t.Errorf("%+v (%v)", sa, err)
	}
	xpn := marshal(t, newSA(GCMAESXPN128, 2, key)...)
	for _, want := range [][]byte{marshal(t, u64(saPN, 1)), marshal(t, raw(saSSCI, []byte{0, 0, 0, 1})), marshal(t, raw(saSalt, key.Salt))} {
		if !bytes.Contains(xpn, want) {
			t.Errorf("%x is missing in %x", want, xpn)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(dumped(f, GCMAES128))
	f.Add(dumped(f, GCMAESXPN256))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = parseSecY(b)
		_, _, _ = parseLink(b)
	})
}
