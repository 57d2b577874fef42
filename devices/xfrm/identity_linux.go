package xfrm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/keychain"
)

// maxEpoch is the highest epoch that fits into a request ID.
const maxEpoch keychain.Epoch = math.MaxUint32

// mark tells a link from all others, the same at both of its ends.
type mark [16]byte

func markOf(link keychain.LinkID) mark {
	sum := sha256.Sum256([]byte("keyorch/v1 xfrm link\x00" + link))
	return mark(sum[:16])
}

// spiSpace is how many SPIs there are: all but those below 256, which are reserved
// (RFC 4303, section 2.1).
const spiSpace = math.MaxUint32 + 1 - 256

// SPI is the security parameter index of the key with this Serial on link. A
// kernel finds an inbound SA by its own address and the SPI alone, so links from
// several peers to one address must not share SPIs: each link counts from a start
// of its own, which its name gives. Neighbouring Serials have neighbouring SPIs.
func SPI(link keychain.LinkID, s keychain.Serial) uint32 {
	m := markOf(link)
	start := uint64(binary.BigEndian.Uint32(m[:]))
	return uint32(keychain.Serial((start + uint64(s)) % spiSpace).SPI())
}

// brand is as much of a mark as a selector of IPv4 has room for.
func (m mark) brand() []byte { return m[4:7] }

// write is r as a traffic selector that selects everything, of the IP version of
// net, the inner traffic. A selector of IPv4 has 8 bytes that are not compared: the
// brand of the link and the KCV. The epoch is in the request ID. A selector of IPv6
// has 32: the whole name of the key and the mark.
func (m mark) write(r keychain.Ref, inner netip.Prefix) *netlink.XfrmPolicy {
	var from, to []byte
	if inner.Addr().Is4() {
		kcv, _ := hex.DecodeString(string(r.KCV))
		both := append(bytes.Clone(m.brand()), kcv...)
		from, to = both[:4], both[4:]
	} else {
		name := keying.Name(r)
		from, to = name[:], m[:]
	}
	everything := net.CIDRMask(0, 8*len(from))
	return &netlink.XfrmPolicy{Src: &net.IPNet{IP: from, Mask: everything}, Dst: &net.IPNet{IP: to, Mask: everything}}
}

// parse reads what write wrote from an SA; false for an SA of anybody else or of
// another link.
func (m mark) parse(s netlink.XfrmState) (keychain.Ref, bool) {
	epoch := keychain.Epoch(uint32(s.Reqid))
	if s.Selector == nil || epoch == 0 {
		return keychain.Ref{}, false
	}
	from, fromOK := uncompared(s.Selector.Src)
	to, toOK := uncompared(s.Selector.Dst)
	switch {
	case !fromOK || !toOK || len(from) != len(to):
		return keychain.Ref{}, false
	case len(from) == net.IPv6len:
		r, ok := keying.ParseName(from)
		return r, ok && r.Epoch == epoch && bytes.Equal(to, m[:])
	}
	both := append(bytes.Clone(from), to...)
	if !bytes.HasPrefix(both, m.brand()) {
		return keychain.Ref{}, false
	}
	return keychain.Ref{Epoch: epoch, KCV: keychain.KCVOf([5]byte(both[3:]))}, true
}

// uncompared is the address of a network with a prefix of length 0, in 4 or 16
// bytes.
func uncompared(n *net.IPNet) ([]byte, bool) {
	if n == nil {
		return nil, false
	}
	if ones, bits := n.Mask.Size(); ones != 0 || bits == 0 {
		return nil, false
	}
	if four := n.IP.To4(); four != nil {
		return four, true
	}
	return n.IP, len(n.IP) == net.IPv6len
}
