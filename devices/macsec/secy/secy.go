// Package secy reads and changes the SecY (the MAC security entity, IEEE
// 802.1AE-2018, clause 10) of a Linux MACsec interface: its transmit and receive
// security associations and which of the former it encodes with.
//
// It speaks generic netlink, family "macsec", for the associations, and
// rtnetlink for the choice of the encoding one. It knows nothing of links, epochs
// or orders, and decides nothing.
package secy

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
)

// ANs is how many association numbers there are: two bits in each frame.
const ANs = 4

// KeyIDSize is the length of the identifier that Linux keeps beside each key.
const KeyIDSize = 16

// SaltSize is the length of the salt that cipher suites with extended packet
// numbers take.
const SaltSize = 12

// SCI names a secure channel: the address of its sender and a port.
type SCI [8]byte

// NewSCI is the SCI of a sender. mac has six bytes.
func NewSCI(mac net.HardwareAddr, port uint16) SCI {
	var s SCI
	copy(s[:6], mac)
	binary.BigEndian.PutUint16(s[6:], port)
	return s
}

// String writes an SCI as ip-macsec(8) does: 16 hexadecimal digits.
func (s SCI) String() string { return hex.EncodeToString(s[:]) }

// Suite is a cipher suite by its number in IEEE 802.1AE-2018, table 14-1.
type Suite uint64

// The cipher suites that Linux has.
const (
	GCMAES128    Suite = 0x0080C20001000001
	GCMAES256    Suite = 0x0080C20001000002
	GCMAESXPN128 Suite = 0x0080C20001000003
	GCMAESXPN256 Suite = 0x0080C20001000004
	// gcmAES128Old is how Linux reported GCM-AES-128 at first, and some still do.
	gcmAES128Old Suite = 0x0080020001000001
)

// String is the name that ip-macsec(8) gives a suite.
func (s Suite) String() string {
	switch s {
	case GCMAES128:
		return "gcm-aes-128"
	case GCMAES256:
		return "gcm-aes-256"
	case GCMAESXPN128:
		return "gcm-aes-xpn-128"
	case GCMAESXPN256:
		return "gcm-aes-xpn-256"
	}
	return fmt.Sprintf("%016x", uint64(s))
}

// KeySize is the length of a suite's key in bytes; zero for an unknown suite.
func (s Suite) KeySize() int {
	switch s {
	case GCMAES128, GCMAESXPN128:
		return 16
	case GCMAES256, GCMAESXPN256:
		return 32
	}
	return 0
}

// XPN says whether packet numbers have 64 bits instead of 32. Such a suite needs
// a salt and an SSCI for each association.
func (s Suite) XPN() bool { return s == GCMAESXPN128 || s == GCMAESXPN256 }

// SA is a security association as the kernel shows it. It never shows the key.
type SA struct {
	AN     uint8
	Active bool
	// PN is the next packet number: what is sent with next, or the lowest that is
	// expected next. A transmit SA without extended packet numbers shows zero when
	// it has used them up, and is not active then.
	PN    uint64
	KeyID [KeyIDSize]byte
	// OK counts the frames that a receive SA took, modulo 2³².
	OK uint64
}

// RXSC is a receive secure channel: one peer that frames are taken from.
type RXSC struct {
	SCI    SCI
	Active bool
	SAs    []SA
	// NotUsingSA counts the frames whose AN had no active SA.
	NotUsingSA uint64
}

// SecY is the state of one interface.
type SecY struct {
	SCI   SCI
	Suite Suite
	// Protect is false when frames are sent as they are, without MACsec.
	Protect bool
	// EncodingSA is the AN that is sent with. There may be no SA under it; then
	// nothing is sent.
	EncodingSA uint8
	TXSAs      []SA
	RXSCs      []RXSC
}

// TXSA is the transmit SA under an AN.
func (s SecY) TXSA(an uint8) (SA, bool) { return find(s.TXSAs, an) }

// RXSC is the channel of a peer.
func (s SecY) RXSC(peer SCI) (RXSC, bool) {
	for _, sc := range s.RXSCs {
		if sc.SCI == peer {
			return sc, true
		}
	}
	return RXSC{}, false
}

// SA is the receive SA under an AN.
func (sc RXSC) SA(an uint8) (SA, bool) { return find(sc.SAs, an) }

func find(sas []SA, an uint8) (SA, bool) {
	for _, sa := range sas {
		if sa.AN == an {
			return sa, true
		}
	}
	return SA{}, false
}

// Key is the key of a new SA. Its maker wipes it.
type Key struct {
	ID    [KeyIDSize]byte
	Bytes []byte // as many as the suite takes
	Salt  []byte // SaltSize bytes with extended packet numbers, else nil
	SSCI  uint32 // tells the senders under one key apart; extended packet numbers only
}
