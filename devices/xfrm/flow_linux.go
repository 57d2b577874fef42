package xfrm

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/keyorch/keyorch/keychain"
)

// flow is one direction of a part.
type flow struct {
	from, to       netip.Addr
	fromNet, toNet netip.Prefix
	mode           netlink.Mode
	mark           mark
}

func (p part) out(link keychain.LinkID) flow {
	return flow{p.local, p.remote, p.localNet, p.remoteNet, p.mode(), markOf(link)}
}

func (p part) in(link keychain.LinkID) flow {
	return flow{p.remote, p.local, p.remoteNet, p.localNet, p.mode(), markOf(link)}
}

func (p part) mode() netlink.Mode {
	if p.transport {
		return netlink.XFRM_MODE_TRANSPORT
	}
	return netlink.XFRM_MODE_TUNNEL
}

// joins reports whether t is a template for ESP between the ends of f.
func (f flow) joins(t netlink.XfrmPolicyTmpl) bool {
	return t.Proto == netlink.XFRM_PROTO_ESP && addr(t.Src) == f.from && addr(t.Dst) == f.to
}

// accepts reports whether t lets any key of f in.
func (f flow) accepts(t netlink.XfrmPolicyTmpl) bool {
	return f.joins(t) && t.Mode == f.mode && t.Spi == 0 && t.Reqid == 0 && t.Optional == 0
}

// selector is the policy for the traffic of f, as far as it is looked up by.
func (f flow) selector(dir netlink.Dir) *netlink.XfrmPolicy {
	return &netlink.XfrmPolicy{Src: ipNet(f.fromNet), Dst: ipNet(f.toNet), Dir: dir}
}

// describe is a policy as ip(8) has it.
func (f flow) describe(dir netlink.Dir) string {
	return fmt.Sprintf("src %v dst %v %v", f.fromNet, f.toNet, dir)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
