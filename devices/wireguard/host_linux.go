package wireguard

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/keyorch/keyorch/fault"
)

// host is the system of a network namespace.
type host struct {
	links *netlink.Handle
	guard *wgctrl.Client
}

// openHost opens the namespace of that name or path; that of the process without
// one. The sockets belong to the namespace in which they are opened.
func openHost(namespace string) (system, error) {
	if namespace == "" {
		return openHere(netns.None())
	}
	path := namespace
	if !strings.HasPrefix(path, "/") {
		path = filepath.Join("/var/run/netns", path)
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, unreachable(err, "open network namespace %s", namespace)
	}
	defer ns.Close()
	return openHere(ns)
}

func openHere(ns netns.NsHandle) (system, error) {
	links, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, unreachable(err, "open a netlink socket")
	}
	guard, err := openGuard(ns)
	if err != nil {
		links.Close()
		return nil, unreachable(err, "open WireGuard")
	}
	return &host{links, guard}, nil
}

// openGuard opens wgctrl in ns, on a goroutine that owns its thread. A thread that
// cannot come back is not unlocked, and ends with the goroutine.
func openGuard(ns netns.NsHandle) (*wgctrl.Client, error) {
	if !ns.IsOpen() {
		return wgctrl.New()
	}
	type opened struct {
		client *wgctrl.Client
		err    error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err == nil {
			defer home.Close()
			err = netns.Set(ns)
		}
		if err != nil {
			runtime.UnlockOSThread()
			done <- opened{err: err}
			return
		}
		client, err := wgctrl.New()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- opened{client, err}
	}()
	o := <-done
	return o.client, o.err
}

func (h *host) Close() {
	h.links.Close()
	_ = h.guard.Close()
}

func (h *host) Interface(name string) (netif, error) {
	link, err := h.links.LinkByName(name)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return netif{}, nil
	}
	if err != nil {
		return netif{}, unreachable(err, "read interface %s", name)
	}
	a := link.Attrs()
	return netif{exists: true, up: a.Flags&net.FlagUp != 0, alias: a.Alias}, nil
}

func (h *host) Up(name string) error {
	return h.change(name, "put interface %s up", h.links.LinkSetUp)
}

func (h *host) Down(name string) error {
	return h.change(name, "take interface %s down", h.links.LinkSetDown)
}

func (h *host) Alias(name, text string) error {
	return h.change(name, "name the key on interface %s", func(l netlink.Link) error { return h.links.LinkSetAlias(l, text) })
}

func (h *host) change(name, what string, f func(netlink.Link) error) error {
	link, err := h.links.LinkByName(name)
	if err == nil {
		err = f(link)
	}
	return unreachable(err, what, name)
}

func (h *host) Peer(name string, key wgtypes.Key) (peer, error) {
	device, err := h.guard.Device(name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return peer{}, nil
	}
	if err != nil {
		return peer{}, guarded(err, fault.Unavailable, "read WireGuard interface %s", name)
	}
	p := peer{device: true, own: device.PublicKey}
	clear(device.PrivateKey[:])
	for i := range device.Peers {
		seen := &device.Peers[i]
		if seen.PublicKey == key {
			p.exists, p.print = true, fingerprint(&seen.PresharedKey)
			p.handshake, p.received = seen.LastHandshakeTime, seen.ReceiveBytes
			p.keepalive, p.endpoint, p.allowed = seen.PersistentKeepaliveInterval, seen.Endpoint, seen.AllowedIPs
		}
		clear(seen.PresharedKey[:])
	}
	return p, nil
}

func (h *host) Set(name string, changes ...wgtypes.PeerConfig) error {
	return guarded(h.guard.ConfigureDevice(name, wgtypes.Config{Peers: changes}), fault.Unknown, "configure WireGuard interface %s", name)
}

func (h *host) Route(dst netip.Prefix) (string, error) {
	filter := &netlink.Route{Dst: ipNet(dst), Table: unix.RT_TABLE_MAIN}
	routes, err := h.links.RouteListFiltered(family(dst), filter, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	if err != nil {
		return "", unreachable(err, "read route %s", dst)
	}
	var best *netlink.Route
	for i := range routes {
		if best == nil || routes[i].Priority < best.Priority {
			best = &routes[i]
		}
	}
	if best == nil || best.Type != unix.RTN_UNICAST || best.LinkIndex == 0 {
		return "", nil
	}
	link, err := h.links.LinkByIndex(best.LinkIndex)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return "", nil
	}
	if err != nil {
		return "", unreachable(err, "read route %s", dst)
	}
	return link.Attrs().Name, nil
}

func (h *host) Lead(dst netip.Prefix, name string, source netip.Addr) error {
	route := &netlink.Route{Dst: ipNet(dst), Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNREACHABLE, Protocol: unix.RTPROT_STATIC}
	if name != "" {
		link, err := h.links.LinkByName(name)
		if err != nil {
			return unreachable(err, "make route %s lead to %s", dst, name)
		}
		route.Type, route.LinkIndex = unix.RTN_UNICAST, link.Attrs().Index
		if dst.Addr().Is4() {
			route.Scope = netlink.SCOPE_LINK
		}
		if source.IsValid() {
			route.Src = source.AsSlice()
		}
	}
	return unreachable(h.links.RouteReplace(route), "make route %s lead to %s", dst, name)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
