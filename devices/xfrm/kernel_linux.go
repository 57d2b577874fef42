package xfrm

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/keyorch/keyorch/fault"
)

// kernel is what the driver asks of a kernel, in the words of netlink.Handle.
type kernel interface {
	XfrmStateList(family int) ([]netlink.XfrmState, error)
	XfrmStateAdd(*netlink.XfrmState) error
	XfrmStateDel(*netlink.XfrmState) error
	XfrmPolicyGet(*netlink.XfrmPolicy) (*netlink.XfrmPolicy, error)
	XfrmPolicyUpdate(*netlink.XfrmPolicy) error
	Close()
}

// answerLimit bounds the wait for an answer of the kernel. It answers at once,
// unless it has to load modules.
const answerLimit = 10 * time.Second

// openKernel opens the namespace anew for each operation, so that one that was
// made again under the same name is found.
func openKernel(name string) (kernel, error) {
	ns := netns.None()
	if name != "" {
		path := name
		if !strings.HasPrefix(path, "/") {
			path = filepath.Join("/var/run/netns", name)
		}
		var err error
		if ns, err = netns.GetFromPath(path); err != nil {
			return nil, fault.New(fault.Unavailable, "cannot open network namespace %s: %w", name, plain(err))
		}
		defer func() { _ = ns.Close() }()
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_XFRM)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, fault.New(fault.Unavailable, "the kernel has no IPsec: load the module xfrm_user")
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, plain(err), "cannot reach the kernel over netlink")
	}
	if err := h.SetSocketTimeout(answerLimit); err != nil {
		h.Close()
		return nil, fault.Wrap(fault.Unavailable, err, "cannot reach the kernel over netlink")
	}
	return h, nil
}

// plain is err as an operator can act on it.
func plain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return errors.New("operation not permitted: the agent needs the capability CAP_NET_ADMIN in this network namespace, and CAP_SYS_ADMIN to enter another one")
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// unread is that the kernel did not show what it has.
func unread(err error) error {
	return fault.Wrap(fault.Unavailable, plain(err), "read the security associations of the kernel")
}

// unchanged classifies an error of a change. The kernel says no only before it
// has done anything; without an answer it may have.
func unchanged(err error, format string, a ...any) error {
	kind := fault.Unavailable
	if !errors.As(err, new(unix.Errno)) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR) {
		kind = fault.Unknown
	}
	return fault.Wrap(kind, plain(err), format, a...)
}

// These say what to do about an SA that the kernel cannot
// make.
var (
	errNoCipher = errors.New("the kernel cannot do rfc4106(gcm(aes)): load the modules aes_generic, gcm, ctr, ghash_generic and seqiv")
	errNoESP    = errors.New("the kernel has no ESP: load the module esp4, or esp6 for IPv6")
	errTaken    = errors.New("the SPI has just been taken by another security association")
)

// unadded classifies an error of adding an SA.
func unadded(err error, f flow, spi uint32) error {
	for why, errnos := range map[error][]unix.Errno{
		errNoCipher: {unix.ENOSYS, unix.ENOENT, unix.ELIBBAD},
		errNoESP:    {unix.EPROTONOSUPPORT},
		errTaken:    {unix.EEXIST},
	} {
		if slices.ContainsFunc(errnos, func(e unix.Errno) bool { return errors.Is(err, e) }) {
			return fault.Wrap(fault.Unavailable, why, "add SPI 0x%x to %v", spi, f.to)
		}
	}
	return unchanged(err, "add SPI 0x%x to %v", spi, f.to)
}

// ended is that the caller's context ended while f was being done, which goes on.
func ended(ctx context.Context) error {
	return fault.Wrap(fault.Unknown, ctx.Err(), "the kernel has not answered yet")
}
