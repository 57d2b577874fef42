package macsec

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/keyorch/keyorch/devices/macsec/secy"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// fake is a kernel in memory: interfaces by name, each with the rules of Linux
// that the driver has to live with. Where an interface sends, one frame goes out
// each time that the fake is asked to let some pass.
type fake struct {
	mu         sync.Mutex
	interfaces map[string]*fakeSecY
	trouble    func(write int) trouble // of the writes to come, counted from 1; nil for none
	writes     int
	nonces     map[nonce]bool
	reused     int
}

type trouble int

const (
	fine  trouble = iota
	fails         // for certain, with nothing changed
	loses         // the answer: it is carried out
	hangs         // until the context ends
)

type fakeSecY struct {
	secy.SecY
	keys map[uint8]string // of transmit SAs
}

// nonce is a key and a packet number, which may go together once.
type nonce struct {
	key string
	pn  uint64
}

const (
	ownMAC  = "02:00:00:00:00:0a"
	peerMAC = "02:00:00:00:00:0b"
)

func newFake(suite secy.Suite, names ...string) *fake {
	f := &fake{interfaces: map[string]*fakeSecY{}, nonces: map[nonce]bool{}}
	for _, name := range names {
		f.interfaces[name] = fakeInterface(suite)
	}
	return f
}

func fakeInterface(suite secy.Suite) *fakeSecY {
	own := secy.SCI{2, 0, 0, 0, 0, 0xa, 0, 1}
	return &fakeSecY{SecY: secy.SecY{SCI: own, Suite: suite, Protect: true}, keys: map[uint8]string{}}
}

// device is a device of the fake with a link on each of its interfaces, of the
// same name.
func (f *fake) device(t *testing.T) *Device {
	t.Helper()
	links := map[string]any{}
	for name := range f.interfaces {
		links[name] = map[string]any{"interface": name, "peer": peerMAC}
	}
	d, err := New("n1", map[string]any{"links": links})
	if err != nil {
		t.Fatal(err)
	}
	d.open = f.open
	return d
}

func (f *fake) open(ctx context.Context, _, iface string) (kernel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.interfaces[iface] == nil {
		return nil, fault.New(fault.Unavailable, "no interface %s", iface)
	}
	return &fakeConn{f, ctx, iface}, nil
}

// reboot makes all interfaces anew.
func (f *fake) reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.interfaces {
		f.interfaces[name] = fakeInterface(s.Suite)
	}
}

// next troubles the next write.
func (f *fake) next(t trouble) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = 0
	f.trouble = func(write int) trouble {
		if write == 1 {
			return t
		}
		return fine
	}
}

func (f *fake) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = nil
}

// pass lets frames out, and counts those whose key and number were used before.
func (f *fake) pass() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.interfaces {
		i := slices.IndexFunc(s.TXSAs, func(sa secy.SA) bool { return sa.AN == s.EncodingSA && sa.Active })
		if i < 0 {
			continue
		}
		n := nonce{s.keys[s.EncodingSA], s.TXSAs[i].PN}
		if f.nonces[n] {
			f.reused++
		}
		f.nonces[n] = true
		s.TXSAs[i].PN++
	}
	return f.reused
}

// fakeConn is one operation.
type fakeConn struct {
	*fake
	ctx   context.Context
	iface string
}

func (c *fakeConn) Close() {}

func (c *fakeConn) Show() (secy.SecY, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return secy.SecY{}, fault.Wrap(fault.Unavailable, c.ctx.Err(), "read")
	}
	s := c.interfaces[c.iface].SecY
	s.TXSAs, s.RXSCs = slices.Clone(s.TXSAs), slices.Clone(s.RXSCs)
	for i := range s.RXSCs {
		s.RXSCs[i].SAs = slices.Clone(s.RXSCs[i].SAs)
	}
	return s, nil
}

// write changes the interface with f, unless there is trouble.
func (c *fakeConn) write(f func(s *fakeSecY) error) error {
	c.mu.Lock()
	t := fine
	c.writes++
	if c.trouble != nil {
		t = c.trouble(c.writes)
	}
	if t == hangs {
		c.mu.Unlock()
		<-c.ctx.Done()
		return fault.Wrap(fault.Unknown, c.ctx.Err(), "write")
	}
	defer c.mu.Unlock()
	if t == fails {
		return fault.New(fault.Unavailable, "write: it fails")
	}
	if err := f(c.interfaces[c.iface]); err != nil {
		return fault.New(fault.Unavailable, "write: %w", err)
	}
	if t == loses {
		return fault.New(fault.Unknown, "write: the answer is lost")
	}
	return nil
}

func (s *fakeSecY) channel(peer secy.SCI) *secy.RXSC {
	i := slices.IndexFunc(s.RXSCs, func(sc secy.RXSC) bool { return sc.SCI == peer })
	if i < 0 {
		return nil
	}
	return &s.RXSCs[i]
}

func (c *fakeConn) AddRXSC(peer secy.SCI) error {
	return c.write(func(s *fakeSecY) error {
		if s.channel(peer) != nil {
			return syscall.EEXIST
		}
		s.RXSCs = append(s.RXSCs, secy.RXSC{SCI: peer, Active: true})
		return nil
	})
}

func (c *fakeConn) ActivateRXSC(peer secy.SCI) error {
	return c.write(func(s *fakeSecY) error { s.channel(peer).Active = true; return nil })
}

func (c *fakeConn) AddRXSA(peer secy.SCI, an uint8, key secy.Key) error {
	return c.write(func(s *fakeSecY) error {
		sc := s.channel(peer)
		if sc == nil {
			return syscall.ENODEV
		}
		return add(&sc.SAs, s.Suite, an, key)
	})
}

func add(sas *[]secy.SA, suite secy.Suite, an uint8, key secy.Key) error {
	if at(*sas, an) >= 0 {
		return syscall.EBUSY
	}
	if len(key.Bytes) != suite.KeySize() || suite.XPN() != (len(key.Salt) == secy.SaltSize && key.SSCI != 0) {
		return syscall.EINVAL
	}
	*sas = append(*sas, secy.SA{AN: an, Active: true, PN: 1, KeyID: key.ID})
	return nil
}

func at(sas []secy.SA, an uint8) int {
	return slices.IndexFunc(sas, func(sa secy.SA) bool { return sa.AN == an })
}

func turn(sas []secy.SA, an uint8, on bool) error {
	i := at(sas, an)
	if i < 0 {
		return syscall.ENODEV
	}
	sas[i].Active = on
	return nil
}

func remove(sas *[]secy.SA, an uint8) error {
	i := at(*sas, an)
	if (*sas)[i].Active {
		return syscall.EBUSY
	}
	*sas = slices.Delete(*sas, i, i+1)
	return nil
}

func (c *fakeConn) ActivateRXSA(peer secy.SCI, an uint8) error {
	return c.write(func(s *fakeSecY) error { return turn(s.channel(peer).SAs, an, true) })
}

func (c *fakeConn) DeleteRXSA(peer secy.SCI, an uint8) error {
	if err := c.write(func(s *fakeSecY) error { return turn(s.channel(peer).SAs, an, false) }); err != nil {
		return err
	}
	return c.write(func(s *fakeSecY) error { return remove(&s.channel(peer).SAs, an) })
}

func (c *fakeConn) AddTXSA(an uint8, key secy.Key) error {
	return c.write(func(s *fakeSecY) error {
		if err := add(&s.TXSAs, s.Suite, an, key); err != nil {
			return err
		}
		s.keys[an] = string(key.Bytes)
		return nil
	})
}

func (c *fakeConn) DeleteTXSA(an uint8) error {
	if err := c.write(func(s *fakeSecY) error { return turn(s.TXSAs, an, false) }); err != nil {
		return err
	}
	return c.write(func(s *fakeSecY) error { return remove(&s.TXSAs, an) })
}

func (c *fakeConn) Encode(an uint8) error {
	return c.write(func(s *fakeSecY) error { s.EncodingSA = an; return nil })
}

// order is a key of an epoch with a serial, for link l1.
func order(e keychain.Epoch, serial keychain.Serial) keychain.SA {
	return keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: e}, Serial: serial}
}
