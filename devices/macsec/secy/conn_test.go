package secy

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/netlink"

	"github.com/keyorch/keyorch/fault"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	op := func(err error, message string) error {
		return &netlink.OpError{Op: "receive", Err: err, Message: message}
	}
	for _, c := range []struct {
		ctx     context.Context
		err     error
		changes bool
		kind    fault.Kind
		want    string
	}{
		{t.Context(), op(syscall.EPERM, ""), true, fault.Unavailable, "write macsec0: operation not permitted: the agent needs CAP_NET_ADMIN"},
		{t.Context(), op(syscall.ENOENT, ""), true, fault.Unavailable, "the kernel lacks the cipher gcm(aes): load it with modprobe"},
		{t.Context(), op(syscall.ENODEV, ""), true, fault.Unavailable, "write macsec0: the interface is gone"},
		{t.Context(), op(syscall.EBUSY, ""), true, fault.Unavailable, "write macsec0: the kernel says: device or resource busy"},
		{t.Context(), op(syscall.EINVAL, "too long "), true, fault.Unavailable, "the kernel says: invalid argument: too long"},
		{ended, op(os.ErrDeadlineExceeded, ""), true, fault.Unknown, "write macsec0: the kernel did not answer in time: context canceled"},
		{ended, op(os.ErrDeadlineExceeded, ""), false, fault.Unavailable, "did not answer in time"},
		{t.Context(), op(fmt.Errorf("odd"), ""), true, fault.Unknown, "write macsec0: netlink receive: odd"},
		{t.Context(), op(fmt.Errorf("odd"), ""), false, fault.Unavailable, "odd"},
	} {
		err := (&Conn{ctx: c.ctx, name: "macsec0"}).failed(c.err, "write", c.changes)
		if !fault.Is(err, c.kind) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v: %v (%v), want %v %q", c.err, err, fault.Of(err), c.kind, c.want)
		}
	}
}

func TestAnInterfaceThatIsNotThere(t *testing.T) {
	for name, want := range map[string]string{
		"keyorch-none": "no interface keyorch-none: create it with ip link add link PORT keyorch-none type macsec",
		"lo":           "lo is not a MACsec interface: ip -d link show lo says what it is",
	} {
		_, err := Open(t.Context(), "", name)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := Open(t.Context(), "keyorch-none", "lo"); !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "/run/netns/keyorch-none") {
		t.Errorf("no namespace: %v", err)
	}
}

func TestNothingThatPrintsKeysIsUsed(t *testing.T) {
	t.Setenv("NLDEBUG", "level=1")
	if _, err := Open(t.Context(), "", "lo"); !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "start the agent without it") {
		t.Errorf("got %v", err)
	}
}
