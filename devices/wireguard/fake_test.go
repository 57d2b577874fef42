package wireguard

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

const theLink keychain.LinkID = "dc1-dc2"

// world is two hosts with the interfaces wg0a and wg0b each, and a wire between
// those of one name.
type world struct {
	mu    sync.Mutex
	hosts [2]*fakeHost
}

type fakeInterface struct {
	netif
	psk       wgtypes.Key
	handshake time.Time
	received  int64
	keepalive time.Duration
	endpoint  *net.UDPAddr
	allowed   []net.IPNet
	noPeer    bool
}

// newFakeInterface is one as its operator made it.
func newFakeInterface() *fakeInterface {
	return &fakeInterface{
		netif: netif{exists: true}, endpoint: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 51820},
		allowed: []net.IPNet{{IP: net.IPv4(10, 2, 0, 2), Mask: net.CIDRMask(32, 32)}},
	}
}

// asMade reports whether the peer is as its operator made it.
func (i *fakeInterface) asMade() bool {
	made := newFakeInterface()
	return !i.noPeer && i.endpoint.String() == made.endpoint.String() && len(i.allowed) == 1 && i.allowed[0].String() == made.allowed[0].String()
}

// fakeHost is a host in memory: a system with state.
type fakeHost struct {
	world      *world
	self       int
	own, other wgtypes.Key
	interfaces map[string]*fakeInterface
	routes     map[netip.Prefix]string
	// before is asked before each change, after after it; an error is the answer.
	before, after func(call string) error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	var keys [2]wgtypes.Key
	for i := range keys {
		private, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = private.PublicKey()
	}
	for i := range w.hosts {
		w.hosts[i] = &fakeHost{
			world: w, self: i, own: keys[i], other: keys[1-i], routes: map[netip.Prefix]string{},
			interfaces: map[string]*fakeInterface{"wg0a": newFakeInterface(), "wg0b": newFakeInterface()},
		}
	}
	return w
}

// device is the driver of a host, with two routes that lead to the other one.
func (h *fakeHost) device(t *testing.T) *Device {
	t.Helper()
	d, err := New("n1", map[string]any{"links": map[string]any{string(theLink): map[string]any{
		"interfaces": []any{"wg0a", "wg0b"}, "peer": h.other.String(), "routes": []any{"10.2.0.2/32", "2001:db8::2/128"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	d.open = func() (system, error) { return h, nil }
	return d
}

// change makes one change between the hooks.
func (h *fakeHost) change(call string, f func()) error {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	if h.before != nil {
		if err := h.before(call); err != nil {
			return err
		}
	}
	f()
	if h.after != nil {
		return h.after(call)
	}
	return nil
}

func (h *fakeHost) Close() {}

func (h *fakeHost) Interface(name string) (netif, error) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	if i := h.interfaces[name]; i != nil {
		return i.netif, nil
	}
	return netif{}, nil
}

func (h *fakeHost) Up(name string) error {
	return h.change("up "+name, func() { h.interfaces[name].up = true })
}

func (h *fakeHost) Down(name string) error {
	return h.change("down "+name, func() {
		h.interfaces[name].up = false
		for dst, to := range h.routes { // as the kernel does
			if to == name {
				delete(h.routes, dst)
			}
		}
	})
}

func (h *fakeHost) Alias(name, text string) error {
	return h.change("alias "+name, func() { h.interfaces[name].alias = text })
}

func (h *fakeHost) Peer(name string, key wgtypes.Key) (peer, error) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	i := h.interfaces[name]
	if i == nil {
		return peer{}, nil
	}
	p := peer{device: true, own: h.own}
	if key == h.other && !i.noPeer {
		p.exists, p.print, p.handshake, p.received, p.keepalive = true, fingerprint(&i.psk), i.handshake, i.received, i.keepalive
		p.endpoint, p.allowed = i.endpoint, i.allowed
	}
	return p, nil
}

func (h *fakeHost) Set(name string, changes ...wgtypes.PeerConfig) error {
	return h.change("set "+name, func() {
		i := h.interfaces[name]
		for _, c := range changes {
			if c.PublicKey != h.other {
				panic("another peer would be changed")
			}
			if c.Remove {
				*i = fakeInterface{netif: i.netif, noPeer: true}
				continue
			}
			if i.noPeer && !c.UpdateOnly {
				i.noPeer, i.endpoint, i.allowed = false, c.Endpoint, c.AllowedIPs
			}
			if c.PresharedKey != nil {
				i.psk = *c.PresharedKey
			}
			if c.PersistentKeepaliveInterval != nil {
				turnedOn := i.keepalive == 0 && *c.PersistentKeepaliveInterval > 0
				if i.keepalive = *c.PersistentKeepaliveInterval; turnedOn {
					h.shakeHands(name)
				}
			}
		}
	})
}

// shakeHands succeeds when both ends are up with one PSK.
func (h *fakeHost) shakeHands(name string) {
	mine, theirs := h.interfaces[name], h.world.hosts[1-h.self].interfaces[name]
	if mine == nil || theirs == nil || !mine.up || !theirs.up || mine.psk != theirs.psk {
		return
	}
	for _, i := range []*fakeInterface{mine, theirs} {
		if now := time.Now(); now.After(i.handshake) {
			i.handshake = now
		} else {
			i.handshake = i.handshake.Add(1) // the clock of a synctest bubble may stand still
		}
		i.received += 92
	}
}

func (h *fakeHost) Route(dst netip.Prefix) (string, error) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	return h.routes[dst], nil
}

func (h *fakeHost) Lead(dst netip.Prefix, name string, _ netip.Addr) error {
	return h.change(fmt.Sprintf("route %s %s", dst, name), func() { h.routes[dst] = name })
}

// link is the fields of one key of a link.
type linkKey struct {
	keychain.SA
	key secret.Key
}

func key(t *testing.T, e keychain.Epoch) linkKey { return keyAs(t, e, keychain.Serial(e)) }

func keyAs(t *testing.T, e keychain.Epoch, s keychain.Serial) linkKey {
	t.Helper()
	c := secrettest.New(t)
	check, err := c.Key.Check()
	if err != nil {
		t.Fatal(err)
	}
	return linkKey{keychain.SA{Link: theLink, Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)}, Serial: s}, c.Key}
}

// errCut is a call that came to nothing, errLost one whose answer was lost.
var (
	errCut  = fault.New(fault.Unavailable, "cut")
	errLost = fault.New(fault.Unknown, "lost")
)
