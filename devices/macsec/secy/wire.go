package secy

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
)

// The family and its numbers: include/uapi/linux/if_macsec.h.
const familyName = "macsec"

// Commands.
const (
	cmdGetTXSC = 0
	cmdAddRXSC = 1
	cmdUpdRXSC = 3
	cmdAddTXSA = 4
	cmdDelTXSA = 5
	cmdUpdTXSA = 6
	cmdAddRXSA = 7
	cmdDelRXSA = 8
	cmdUpdRXSA = 9
)

// enum macsec_attrs: of every message.
const (
	attrIfindex  = 1
	attrRXSC     = 2
	attrSA       = 3
	attrSecY     = 4
	attrTXSAList = 5
	attrRXSCList = 6
)

// enum macsec_secy_attrs.
const (
	secySCI        = 1
	secyEncodingSA = 2
	secySuite      = 4
	secyProtect    = 6
)

// enum macsec_rxsc_attrs.
const (
	rxscSCI    = 1
	rxscActive = 2
	rxscSAList = 3
	rxscStats  = 4
)

// enum macsec_rxsc_stats_attr.
const rxscNotUsingSA = 9

// enum macsec_sa_attrs.
const (
	saAN     = 1
	saActive = 2
	saPN     = 3
	saKey    = 4
	saKeyID  = 5
	saStats  = 6
	saSSCI   = 8
	saSalt   = 9
)

// enum macsec_sa_stats_attr.
const saInOK = 1

// rtnetlink: linux/if_link.h and linux/rtnetlink.h.
const (
	rtmNewLink     = 16
	rtmGetLink     = 18
	ifinfomsgSize  = 16
	iflaIfname     = 3
	iflaLinkInfo   = 18
	infoKind       = 1
	infoData       = 2
	iflaEncodingSA = 6 // enum in which IFLA_MACSEC_ENCODING_SA is
)

// parseLink reads what a question for one interface was answered with: its index
// and its kind, which is empty for a physical one.
func parseLink(b []byte) (index uint32, kind string, err error) {
	if len(b) < ifinfomsgSize {
		return 0, "", fmt.Errorf("an interface of %d bytes", len(b))
	}
	index = binary.NativeEndian.Uint32(b[4:])
	err = each(b[ifinfomsgSize:], func(ad *netlink.AttributeDecoder) {
		if ad.Type() != iflaLinkInfo {
			return
		}
		ad.Nested(func(info *netlink.AttributeDecoder) error {
			for info.Next() {
				if info.Type() == infoKind {
					kind = info.String()
				}
			}
			return nil
		})
	})
	return index, kind, err
}

// parseSecY reads one message of a dump. Which interface it is about comes first,
// also with an error.
func parseSecY(b []byte) (index uint32, s SecY, err error) {
	err = each(b, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case attrIfindex:
			index = ad.Uint32()
		case attrSecY:
			ad.Nested(s.parseOwn)
		case attrTXSAList:
			ad.Nested(func(list *netlink.AttributeDecoder) (err error) {
				s.TXSAs, err = parseSAs(list)
				return err
			})
		case attrRXSCList:
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					var sc RXSC
					list.Nested(sc.parse)
					s.RXSCs = append(s.RXSCs, sc)
				}
				return nil
			})
		}
	})
	return index, s, err
}

func each(b []byte, f func(ad *netlink.AttributeDecoder)) error {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for ad.Next() {
		f(ad)
	}
	return ad.Err()
}

func (s *SecY) parseOwn(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case secySCI:
			ad.Do(s.SCI.parse)
		case secyEncodingSA:
			s.EncodingSA = ad.Uint8()
		case secySuite:
			if s.Suite = Suite(ad.Uint64()); s.Suite == gcmAES128Old {
				s.Suite = GCMAES128
			}
		case secyProtect:
			s.Protect = ad.Uint8() != 0
		}
	}
	return nil
}

func (sc *RXSC) parse(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case rxscSCI:
			ad.Do(sc.SCI.parse)
		case rxscActive:
			sc.Active = ad.Uint8() != 0
		case rxscSAList:
			ad.Nested(func(list *netlink.AttributeDecoder) (err error) {
				sc.SAs, err = parseSAs(list)
				return err
			})
		case rxscStats:
			ad.Nested(func(stats *netlink.AttributeDecoder) error {
				for stats.Next() {
					if stats.Type() == rxscNotUsingSA {
						sc.NotUsingSA = stats.Uint64()
					}
				}
				return nil
			})
		}
	}
	return nil
}

func parseSAs(list *netlink.AttributeDecoder) ([]SA, error) {
	var sas []SA
	for list.Next() {
		var sa SA
		list.Nested(sa.parse)
		if sa.AN >= ANs {
			return nil, fmt.Errorf("an association number of %d", sa.AN)
		}
		sas = append(sas, sa)
	}
	return sas, nil
}

func (sa *SA) parse(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case saAN:
			sa.AN = ad.Uint8()
		case saActive:
			sa.Active = ad.Uint8() != 0
		case saPN:
			ad.Do(sa.parsePN)
		case saKeyID:
			ad.Do(func(b []byte) error {
				if len(b) != KeyIDSize {
					return fmt.Errorf("a key identifier of %d bytes", len(b))
				}
				sa.KeyID = [KeyIDSize]byte(b)
				return nil
			})
		case saStats:
			ad.Nested(func(stats *netlink.AttributeDecoder) error {
				for stats.Next() {
					if stats.Type() == saInOK {
						sa.OK = uint64(stats.Uint32())
					}
				}
				return nil
			})
		}
	}
	return nil
}

func (sa *SA) parsePN(b []byte) error {
	switch len(b) {
	case 4:
		sa.PN = uint64(binary.NativeEndian.Uint32(b))
	case 8:
		sa.PN = binary.NativeEndian.Uint64(b)
	default:
		return fmt.Errorf("a packet number of %d bytes", len(b))
	}
	return nil
}

func (s *SCI) parse(b []byte) error {
	if len(b) != len(s) {
		return fmt.Errorf("an SCI of %d bytes", len(b))
	}
	*s = SCI(b)
	return nil
}

// nested is an attribute that holds others.
func nested(t uint16, data []byte) netlink.Attribute {
	return netlink.Attribute{Type: t | netlink.Nested, Data: data}
}

func u8(t uint16, v uint8) netlink.Attribute { return netlink.Attribute{Type: t, Data: []byte{v}} }

func u32(t uint16, v uint32) netlink.Attribute {
	return netlink.Attribute{Type: t, Data: binary.NativeEndian.AppendUint32(nil, v)}
}

func raw(t uint16, b []byte) netlink.Attribute { return netlink.Attribute{Type: t, Data: b} }

// newSA is the attributes of a new, active SA that begins at packet number 1.
func newSA(suite Suite, an uint8, key Key) []netlink.Attribute {
	attrs := []netlink.Attribute{
		u8(saAN, an), u8(saActive, 1), raw(saKeyID, key.ID[:]), raw(saKey, key.Bytes),
	}
	if !suite.XPN() {
		return append(attrs, u32(saPN, 1))
	}
	return append(attrs,
		raw(saPN, binary.NativeEndian.AppendUint64(nil, 1)),
		raw(saSSCI, binary.BigEndian.AppendUint32(nil, key.SSCI)), // kept in the order of the wire
		raw(saSalt, key.Salt))
}
