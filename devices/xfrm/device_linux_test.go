package xfrm

import (
	"fmt"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream"
)

const theLink keychain.LinkID = "a-b"

func newKey(t *testing.T, e keychain.Epoch, serial keychain.Serial) (keychain.SA, secret.Key) {
	t.Helper()
	c := secrettest.New(t)
	check, err := c.Key.Check()
	must(t, err)
	return keychain.SA{Link: theLink, Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)}, Serial: serial}, c.Key
}

func sends(t *testing.T, d *Device, want keychain.Ref) {
	t.Helper()
	o, err := d.Upstream().Observe(t.Context(), theLink)
	if err != nil || o.Sends != want {
		t.Errorf("it sends with %v (%v), want %v", o.Sends, err, want)
	}
}

func accepts(t *testing.T, d *Device, want ...keychain.Ref) {
	t.Helper()
	o, err := d.Downstream().Observe(t.Context(), theLink)
	if err != nil || fmt.Sprint(o.Accepts) != fmt.Sprint(want) {
		t.Errorf("it accepts %v (%v), want %v", o.Accepts, err, want)
	}
}

// stranger puts an SA of somebody else under an SPI.
func (f *fake) stranger(from, to string, spi uint32) *netlink.XfrmState {
	s := &netlink.XfrmState{Src: net.ParseIP(from), Dst: net.ParseIP(to), Proto: netlink.XFRM_PROTO_ESP, Spi: int(spi), Reqid: 7,
		Aead: &netlink.XfrmStateAlgo{Key: []byte("not ours")}}
	_ = f.XfrmStateAdd(s)
	return s
}

func TestASwitchRecoversFromEveryStep(t *testing.T) {
	for _, trouble := range []trouble{fails, loses} {
		for write := 1; write <= 3; write++ {
			t.Run(fmt.Sprintf("trouble %d at write %d", trouble, write), func(t *testing.T) {
				f := newFake()
				d := f.device(t, fields("a-b"))
				var last keychain.SA
				for e := keychain.Epoch(1); e <= 3; e++ {
					sa, key := newKey(t, e, keychain.Serial(e))
					release := func() {}
					if e == 3 {
						release = f.next(write, trouble)
					}
					if err := d.Upstream().Switch(t.Context(), sa, key); err != nil {
						if !fault.Is(err, fault.Unknown) {
							sends(t, d, last.Ref)
						}
						f.pass()
						must(t, d.Upstream().Switch(t.Context(), sa, key))
					}
					release()
					sends(t, d, sa.Ref)
					if n := f.pass(); n != 0 {
						t.Errorf("%d packets repeated a key and a sequence number", n)
					}
					last = sa
				}
			})
		}
	}
}

func TestSwitchKeepsTheKeyBeforeAndNoOlderOne(t *testing.T) {
	f := newFake()
	d := f.device(t, fields("a-b"))
	var sas []keychain.SA
	for e := keychain.Epoch(1); e <= 4; e++ {
		sa, key := newKey(t, e, keychain.Serial(e))
		must(t, d.Upstream().Switch(t.Context(), sa, key))
		sas = append(sas, sa)
		f.pass()
	}
	if len(f.states) != 2 {
		t.Errorf("the kernel has %d SAs, want that in use and that before", len(f.states))
	}
	back := d.Upstream().(upstream.Resumer)
	must(t, back.Resume(t.Context(), sas[2]))
	sends(t, d, sas[2].Ref)
	refuses(t, back.Resume(t.Context(), sas[1]), fault.Refused, "go back to epoch 2", "no more")
	if n := f.pass(); n != 0 {
		t.Errorf("%d packets repeated a key and a sequence number", n)
	}
	// The rotation to epoch 4 was aborted, and epoch 5 gets its Serial.
	sa, key := newKey(t, 5, 4)
	must(t, d.Upstream().Switch(t.Context(), sa, key))
	sends(t, d, sa.Ref)
}

func TestAStrangersSPIIsLeftAlone(t *testing.T) {
	f := newFake()
	d := f.device(t, fields("a-b"))
	spi := SPI(theLink, 2)
	inbound := f.stranger("192.0.2.2", "192.0.2.1", spi)
	outbound := f.stranger("192.0.2.1", "192.0.2.2", spi)
	first, key := newKey(t, 1, 1)
	must(t, d.Downstream().Install(t.Context(), first, key))
	must(t, d.Upstream().Switch(t.Context(), first, key))
	sa, key := newKey(t, 2, 2)
	refuses(t, d.Downstream().Install(t.Context(), sa, key), fault.Unavailable, "install epoch 2 on n1", "src 192.0.2.2, reqid 7",
		fmt.Sprintf("ip xfrm state delete dst 192.0.2.1 proto esp spi 0x%x", spi))
	refuses(t, d.Upstream().Switch(t.Context(), sa, key), fault.Unavailable, "switch to epoch 2 on n1", "not of this link")
	accepts(t, d, first.Ref)
	sends(t, d, first.Ref)
	must(t, f.XfrmStateDel(inbound))
	must(t, f.XfrmStateDel(outbound))
	must(t, d.Downstream().Install(t.Context(), sa, key))
	must(t, d.Upstream().Switch(t.Context(), sa, key))
	accepts(t, d, first.Ref, sa.Ref)
	sends(t, d, sa.Ref)
}

func TestAnSPIOfAnotherEpochIsNotTaken(t *testing.T) {
	d := newFake().device(t, fields("a-b"))
	sa, key := newKey(t, 4, 4)
	must(t, d.Downstream().Install(t.Context(), sa, key))
	must(t, d.Upstream().Switch(t.Context(), sa, key))
	other, key := newKey(t, 5, 4)
	refuses(t, d.Downstream().Install(t.Context(), other, key), fault.Unavailable, "still that of epoch 4")
	refuses(t, d.Upstream().Switch(t.Context(), other, key), fault.Unavailable, "that of epoch 4, which is in use")
	huge, key := newKey(t, 1<<32, 5)
	refuses(t, d.Downstream().Install(t.Context(), huge, key), fault.Refused, "does not fit into the request ID")
}

func TestPoliciesOfOthersAreNamed(t *testing.T) {
	f := newFake()
	d := f.device(t, fields("a-b"))
	flow := d.links[theLink].out(theLink)
	strange := flow.selector(netlink.XFRM_DIR_OUT)
	strange.Tmpls = []netlink.XfrmPolicyTmpl{{Src: flow.from.AsSlice(), Dst: flow.to.AsSlice(), Proto: netlink.XFRM_PROTO_ESP, Reqid: 1}}
	must(t, f.XfrmPolicyUpdate(strange))
	_, err := d.Upstream().Observe(t.Context(), theLink)
	refuses(t, err, fault.Unavailable, "another policy", `"ip xfrm policy delete src 10.0.0.0/24 dst 10.0.1.0/24 dir out"`)

	in := d.links[theLink].in(theLink)
	strange = in.selector(netlink.XFRM_DIR_FWD)
	must(t, f.XfrmPolicyUpdate(strange))
	sa, key := newKey(t, 1, 1)
	refuses(t, d.Downstream().Install(t.Context(), sa, key), fault.Unavailable, "src 10.0.1.0/24 dst 10.0.0.0/24 dir fwd")
}

func TestAPolicyThatBlocksIsReplaced(t *testing.T) {
	f := newFake()
	d := f.device(t, fields("a-b"))
	p := d.links[theLink]
	for _, block := range []*netlink.XfrmPolicy{p.out(theLink).selector(netlink.XFRM_DIR_OUT), p.in(theLink).selector(netlink.XFRM_DIR_IN)} {
		block.Action = netlink.XFRM_POLICY_BLOCK
		must(t, f.XfrmPolicyUpdate(block))
	}
	sends(t, d, keychain.Ref{})
	accepts(t, d)
	sa, key := newKey(t, 1, 1)
	must(t, d.Downstream().Install(t.Context(), sa, key))
	must(t, d.Upstream().Switch(t.Context(), sa, key))
	sends(t, d, sa.Ref)
	accepts(t, d, sa.Ref)
}

func TestPoliciesComeBack(t *testing.T) {
	f := newFake()
	d := f.device(t, fields("a-b"))
	sa, key := newKey(t, 1, 1)
	must(t, d.Downstream().Install(t.Context(), sa, key))
	must(t, d.Upstream().Switch(t.Context(), sa, key))
	clear(f.policies)
	accepts(t, d)
	sends(t, d, keychain.Ref{})
	must(t, d.Downstream().Install(t.Context(), sa, key))
	accepts(t, d, sa.Ref)
}

func TestErrorsOfTheKernelInPlainWords(t *testing.T) {
	f := flow{}
	for _, c := range []struct {
		errno unix.Errno
		kind  fault.Kind
		says  string
	}{
		{unix.EPERM, fault.Unavailable, "CAP_NET_ADMIN"},
		{unix.ENOSYS, fault.Unavailable, "load the modules aes_generic, gcm, ctr, ghash_generic and seqiv"},
		{unix.ENOENT, fault.Unavailable, "load the modules"},
		{unix.EPROTONOSUPPORT, fault.Unavailable, "load the module esp4"},
		{unix.EEXIST, fault.Unavailable, "taken"},
		{unix.EINVAL, fault.Unavailable, "invalid argument"},
		{unix.EAGAIN, fault.Unknown, "temporarily unavailable"},
	} {
		refuses(t, unadded(c.errno, f, 0x101), c.kind, "add SPI 0x101", c.says)
	}
	_, err := openKernel("no-such-namespace")
	refuses(t, err, fault.Unavailable, "cannot open network namespace no-such-namespace: no such file or directory")
}
