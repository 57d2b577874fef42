package xfrm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// session is one operation's conversation with the kernel.
type session struct {
	ctx    context.Context // that of the operation: a change is not begun after its end
	kernel kernel
	netns  string // for messages
}

// association is one SA of ours.
type association struct {
	keychain.Ref
	spi     uint32
	packets uint64
}

// sight is the SAs of one flow, as the kernel shows them.
type sight struct {
	own []association // by epoch
	// taken says who else has an SPI to the same address, by SPI.
	taken map[uint32]string
}

func (s sight) find(e keychain.Epoch) (association, bool) {
	return s.first(func(a association) bool { return a.Epoch == e })
}

func (s sight) under(spi uint32) (association, bool) {
	return s.first(func(a association) bool { return a.spi == spi })
}

func (s sight) first(is func(association) bool) (association, bool) {
	if i := slices.IndexFunc(s.own, is); i >= 0 {
		return s.own[i], true
	}
	return association{}, false
}

// packets are the counts of all of them, by epoch.
func (s sight) packets() map[keychain.Epoch]uint64 {
	counts := make(map[keychain.Epoch]uint64, len(s.own))
	for _, a := range s.own {
		counts[a.Epoch] = a.packets
	}
	return counts
}

// refs are the keys of all of them, sorted by epoch.
func (s sight) refs() []keychain.Ref {
	refs := make([]keychain.Ref, 0, len(s.own))
	for _, a := range s.own {
		refs = append(refs, a.Ref)
	}
	slices.SortFunc(refs, func(a, b keychain.Ref) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return refs
}

// dumps is how often a dump is tried that the kernel says was disturbed.
const dumps = 10

// look dumps the SAs, and keeps no key of them.
func (s *session) look(f flow) (sight, error) {
	var states []netlink.XfrmState
	var err error
	for range dumps {
		if states, err = s.kernel.XfrmStateList(netlink.FAMILY_ALL); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return sight{}, unread(err)
	}
	seen := sight{taken: map[uint32]string{}}
	for _, state := range states {
		for _, algo := range []*netlink.XfrmStateAlgo{state.Aead, state.Crypt, state.Auth} {
			if algo != nil {
				clear(algo.Key)
			}
		}
		if state.Proto != netlink.XFRM_PROTO_ESP || addr(state.Dst) != f.to {
			continue
		}
		spi := uint32(state.Spi)
		ref, ours := f.mark.parse(state)
		if ours && addr(state.Src) == f.from {
			seen.own = append(seen.own, association{ref, spi, state.Statistics.Packets})
		} else {
			seen.taken[spi] = fmt.Sprintf("a security association that is not of this link (src %v, reqid %d)", state.Src, uint32(state.Reqid))
		}
	}
	slices.SortFunc(seen.own, func(a, b association) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return seen, nil
}

// foreign is Unavailable when somebody else has the SPI.
func (s *session) foreign(seen sight, f flow, spi uint32) error {
	who, taken := seen.taken[spi]
	if !taken {
		return nil
	}
	return fault.New(fault.Unavailable, "SPI 0x%x to %v is taken by %s%s: delete it with \"ip xfrm state delete dst %v proto esp spi 0x%x\"",
		spi, f.to, who, s.where(), f.to, spi)
}

// where is the namespace, for messages.
func (s *session) where() string {
	if s.netns == "" {
		return ""
	}
	return " in network namespace " + s.netns
}

// add adds the SA of one key.
func (s *session) add(f flow, r keychain.Ref, spi uint32, window int, key secret.Key) error {
	if err := s.mayChange(); err != nil {
		return err
	}
	err := key.Use(func(b []byte) error {
		own := bytes.Clone(b) // b is not to be kept, and the message refers to it
		defer clear(own)
		return s.kernel.XfrmStateAdd(&netlink.XfrmState{
			Src: f.from.AsSlice(), Dst: f.to.AsSlice(), Proto: netlink.XFRM_PROTO_ESP, Mode: f.mode,
			Spi: int(spi), Reqid: int(r.Epoch), Selector: f.mark.write(r, f.toNet),
			ESN: true, ReplayWindow: window,
			Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: own, ICVLen: icvBits},
		})
	})
	if err != nil {
		return unadded(err, f, spi)
	}
	return nil
}

// drop deletes an SA. One that is gone already is no error.
func (s *session) drop(f flow, spi uint32) error {
	if err := s.mayChange(); err != nil {
		return err
	}
	err := s.kernel.XfrmStateDel(&netlink.XfrmState{Src: f.from.AsSlice(), Dst: f.to.AsSlice(), Proto: netlink.XFRM_PROTO_ESP, Spi: int(spi)})
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return unchanged(err, "delete SPI 0x%x to %v", spi, f.to)
}

// mayChange keeps a change from being begun when nobody waits for it any more.
func (s *session) mayChange() error {
	return fault.Wrap(fault.Unavailable, s.ctx.Err(), "nothing was changed")
}

// policy reads the policy for the traffic of f in one direction; nil for none.
func (s *session) policy(f flow, dir netlink.Dir) (*netlink.XfrmPolicy, error) {
	p, err := s.kernel.XfrmPolicyGet(f.selector(dir))
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return nil, nil
	}
	return nil, fault.Wrap(fault.Unavailable, plain(err), "read the policies of the kernel")
}

// priority of the policies. Lower numbers come first and 0 is what ip(8) gives, so
// that an operator's own exemptions are heeded.
const priority = 1000

// point makes or replaces the policy for the traffic of f in one direction, in one
// step. It asks for the SA with this SPI and this epoch; zero for any.
func (s *session) point(f flow, dir netlink.Dir, spi uint32, e keychain.Epoch) error {
	if err := s.mayChange(); err != nil {
		return err
	}
	p := f.selector(dir)
	p.Priority = priority
	p.Tmpls = []netlink.XfrmPolicyTmpl{{
		Src: f.from.AsSlice(), Dst: f.to.AsSlice(), Proto: netlink.XFRM_PROTO_ESP, Mode: f.mode, Spi: int(spi), Reqid: int(e),
	}}
	if err := s.kernel.XfrmPolicyUpdate(p); err != nil {
		return unchanged(err, "set the policy %s", f.describe(dir))
	}
	return nil
}

// foreignPolicy is about a policy that somebody else made for the same traffic.
func (s *session) foreignPolicy(f flow, dir netlink.Dir) error {
	return fault.New(fault.Unavailable, "there is another policy for this traffic%s: delete it with \"ip xfrm policy delete %s\"", s.where(), f.describe(dir))
}
