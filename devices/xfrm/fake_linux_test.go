package xfrm

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fake is a kernel in memory, with the rules of Linux that the driver has to live
// with: an SA is found by its destination and SPI, a policy by its selector, and
// adding an SA sends nothing.
type fake struct {
	mu       sync.Mutex
	states   map[string]*fakeState
	policies map[string]netlink.XfrmPolicy
	writes   int
	trouble  func(write int) trouble // of the writes to come, counted from 1; nil for none
	released chan struct{}           // closed: whoever hangs gives up
	nonces   map[string]bool
	reused   int
}

type fakeState struct {
	netlink.XfrmState
	key string
	seq uint64
}

type trouble int

const (
	fine  trouble = iota
	fails         // for certain, with nothing changed
	loses         // the answer: it is carried out
	hangs         // until the test releases it, with nothing changed
)

func newFake() *fake {
	f := &fake{nonces: map[string]bool{}, released: make(chan struct{})}
	f.reboot()
	return f
}

func (f *fake) reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states, f.policies = map[string]*fakeState{}, map[string]netlink.XfrmPolicy{}
}

// next troubles one write, counted from 1.
func (f *fake) next(write int, t trouble) (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = 0
	f.trouble = func(n int) trouble {
		if n == write {
			return t
		}
		return fine
	}
	released := make(chan struct{})
	f.released = released
	return sync.OnceFunc(func() {
		f.mu.Lock()
		f.trouble = nil
		f.mu.Unlock()
		close(released)
	})
}

// write does one change, or what the trouble makes of it.
func (f *fake) write(change func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	t := fine
	if f.trouble != nil {
		t = f.trouble(f.writes)
	}
	switch t {
	case fails:
		return unix.ENOMEM
	case loses:
		_ = change()
		return unix.EAGAIN
	case hangs:
		released := f.released
		f.mu.Unlock()
		<-released
		f.mu.Lock()
		return unix.EAGAIN
	}
	return change()
}

// pass lets one packet out on each link that sends, and says how many packets so
// far had a key and a sequence number that had been used.
func (f *fake) pass() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.policies {
		if p.Dir != netlink.XFRM_DIR_OUT || len(p.Tmpls) == 0 {
			continue
		}
		s := f.states[stateID(&netlink.XfrmState{Dst: p.Tmpls[0].Dst, Spi: p.Tmpls[0].Spi})]
		if s == nil || s.Reqid != p.Tmpls[0].Reqid {
			continue
		}
		s.seq++
		s.Statistics.Packets++
		nonce := fmt.Sprintf("%x %d", s.key, s.seq)
		if f.nonces[nonce] {
			f.reused++
		}
		f.nonces[nonce] = true
	}
	return f.reused
}

func stateID(s *netlink.XfrmState) string { return fmt.Sprintf("%v 0x%x", addr(s.Dst), uint32(s.Spi)) }
func policyID(p *netlink.XfrmPolicy) string {
	return fmt.Sprintf("%v %v %v", p.Src, p.Dst, p.Dir)
}

func (f *fake) XfrmStateList(int) ([]netlink.XfrmState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []netlink.XfrmState
	for _, s := range f.states {
		shown := s.XfrmState
		shown.Aead = &netlink.XfrmStateAlgo{Name: s.Aead.Name, Key: []byte(s.key)}
		all = append(all, shown)
	}
	return all, nil
}

func (f *fake) XfrmStateAdd(s *netlink.XfrmState) error {
	return f.write(func() error {
		if f.states[stateID(s)] != nil {
			return unix.EEXIST
		}
		added := &fakeState{XfrmState: *s, key: string(s.Aead.Key)}
		added.Aead = &netlink.XfrmStateAlgo{Name: s.Aead.Name}
		f.states[stateID(s)] = added
		return nil
	})
}

func (f *fake) XfrmStateDel(s *netlink.XfrmState) error {
	return f.write(func() error {
		if f.states[stateID(s)] == nil {
			return unix.ESRCH
		}
		delete(f.states, stateID(s))
		return nil
	})
}

func (f *fake) XfrmPolicyGet(p *netlink.XfrmPolicy) (*netlink.XfrmPolicy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found, ok := f.policies[policyID(p)]
	if !ok {
		return nil, unix.ENOENT
	}
	found.Tmpls = slices.Clone(found.Tmpls)
	return &found, nil
}

func (f *fake) XfrmPolicyUpdate(p *netlink.XfrmPolicy) error {
	return f.write(func() error {
		f.policies[policyID(p)] = *p
		return nil
	})
}

func (f *fake) Close() {}

var conformanceLinks = []string{"conformance", "link-0", "link-1", "link-2", "link-3", "link-4", "link-5", "link-6", "link-7"}

func (f *fake) device(t *testing.T, fields map[string]any) *Device {
	t.Helper()
	d, err := New("n1", fields)
	if err != nil {
		t.Fatal(err)
	}
	d.open = func() (kernel, error) { return f, nil }
	return d
}
