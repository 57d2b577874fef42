package secy

import (
	"errors"
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/keyorch/keyorch/fault"
)

// AddRXSC begins to listen to a peer. The interfaces of one port do not share a
// peer.
func (c *Conn) AddRXSC(peer SCI) error {
	err := c.change("add a receive channel to", cmdAddRXSC, rxsc(peer, u8(rxscActive, 1)))
	if errors.Is(err, syscall.EEXIST) {
		return fault.New(fault.Unavailable, "add a receive channel to %s: another interface on the same port receives from SCI %s: see ip macsec show", c.name, peer)
	}
	return err
}

// ActivateRXSC listens to a peer whose channel was off.
func (c *Conn) ActivateRXSC(peer SCI) error {
	return c.change("turn on a receive channel of", cmdUpdRXSC, rxsc(peer, u8(rxscActive, 1)))
}

// AddRXSA accepts a key from a peer from now on, from packet number 1. The kernel
// takes no second one under the same AN.
func (c *Conn) AddRXSA(peer SCI, an uint8, key Key) error {
	return c.change("add a receive key to", cmdAddRXSA, rxsc(peer), newSA(c.suite, an, key)...)
}

// ActivateRXSA accepts a key again that was off.
func (c *Conn) ActivateRXSA(peer SCI, an uint8) error {
	return c.change("turn on a receive key of", cmdUpdRXSA, rxsc(peer), u8(saAN, an), u8(saActive, 1))
}

// DeleteRXSA accepts a key no longer. The kernel deletes only what is off: when
// this fails halfway, the key is there, but not accepted.
func (c *Conn) DeleteRXSA(peer SCI, an uint8) error {
	if err := c.change("turn off a receive key of", cmdUpdRXSA, rxsc(peer), u8(saAN, an), u8(saActive, 0)); err != nil {
		return err
	}
	return c.change("delete a receive key of", cmdDelRXSA, rxsc(peer), u8(saAN, an))
}

// AddTXSA holds a key ready for sending, from packet number 1. Nothing is sent
// with it unless its AN is the one that is encoded with already.
func (c *Conn) AddTXSA(an uint8, key Key) error {
	return c.change("add a transmit key to", cmdAddTXSA, nil, newSA(c.suite, an, key)...)
}

// DeleteTXSA forgets a sending key, with its packet number.
func (c *Conn) DeleteTXSA(an uint8) error {
	if err := c.change("turn off a transmit key of", cmdUpdTXSA, nil, u8(saAN, an), u8(saActive, 0)); err != nil {
		return err
	}
	return c.change("delete a transmit key of", cmdDelTXSA, nil, u8(saAN, an))
}

// Encode sends with the key under an AN from the next frame on.
func (c *Conn) Encode(an uint8) error {
	data, err := netlink.MarshalAttributes([]netlink.Attribute{u8(iflaEncodingSA, an)})
	if err != nil {
		return c.failed(err, "switch", false)
	}
	info, err := netlink.MarshalAttributes([]netlink.Attribute{
		raw(infoKind, append([]byte(familyName), 0)), nested(infoData, data),
	})
	if err != nil {
		return c.failed(err, "switch", false)
	}
	_, err = c.link(rtmNewLink, c.index, []netlink.Attribute{nested(iflaLinkInfo, info)})
	return c.failed(err, "switch", true)
}

// rxsc is the attributes that name the channel of a peer, and more of it.
func rxsc(peer SCI, more ...netlink.Attribute) []netlink.Attribute {
	return append([]netlink.Attribute{raw(rxscSCI, peer[:])}, more...)
}

// change sends one command and waits for the kernel's word. What was made of a
// key here is wiped; the copy that the netlink library sends from is out of reach.
func (c *Conn) change(verb string, command uint8, channel []netlink.Attribute, sa ...netlink.Attribute) error {
	attrs := []netlink.Attribute{u32(attrIfindex, c.index)}
	for _, part := range []struct {
		t     uint16
		attrs []netlink.Attribute
	}{{attrRXSC, channel}, {attrSA, sa}} {
		if len(part.attrs) == 0 {
			continue
		}
		b, err := netlink.MarshalAttributes(part.attrs)
		if err != nil {
			return c.failed(err, verb, false)
		}
		defer clear(b)
		attrs = append(attrs, nested(part.t, b))
	}
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return c.failed(err, verb, false)
	}
	defer clear(data)
	_, err = c.generic.Execute(c.message(command, data), c.family.ID, netlink.Request|netlink.Acknowledge)
	return c.failed(err, verb, true)
}
