package secy

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"github.com/keyorch/keyorch/fault"
)

// netnsDir is where ip-netns(8) keeps the namespaces that have names.
const netnsDir = "/run/netns"

// Conn is one interface for the time of one operation. It is for one goroutine.
//
// Its errors are made for operators and carry a fault kind: Unavailable when
// nothing was changed, also by a kernel that said no, and Unknown when the answer
// to a change did not come. None holds key bytes: the kernel does not quote a
// request.
type Conn struct {
	ctx     context.Context
	name    string
	index   uint32
	suite   Suite // of the last Show
	family  genetlink.Family
	generic *genetlink.Conn
	route   *netlink.Conn
	stop    func() bool // of what ends waiting together with ctx
}

// Open finds the MACsec interface name in the network namespace netns: a name, an
// absolute path, or empty for the one of this process. Waiting for the kernel
// ends with ctx. The caller closes what it gets.
func Open(ctx context.Context, netns, name string) (*Conn, error) {
	if os.Getenv("NLDEBUG") != "" {
		return nil, fault.New(fault.Unavailable, "open %s: NLDEBUG is set, with which the netlink library prints every message and the keys in it: start the agent without it", name)
	}
	config := &netlink.Config{}
	if netns != "" {
		path := netns
		if !filepath.IsAbs(path) {
			path = filepath.Join(netnsDir, netns)
		}
		ns, err := os.Open(path)
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, plain(err), "cannot open network namespace %s", path)
		}
		defer ns.Close()
		config.NetNS = int(ns.Fd())
	}
	c := &Conn{ctx: ctx, name: name, stop: func() bool { return true }}
	if err := c.dial(config); err != nil {
		c.Close()
		return nil, err
	}
	if err := c.find(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) dial(config *netlink.Config) error {
	cannot := func(err error) error {
		if errors.Is(err, syscall.EPERM) {
			return fault.New(fault.Unavailable, "cannot enter the network namespace of %s: %w: the agent needs CAP_SYS_ADMIN for that", c.name, plain(err))
		}
		return fault.Wrap(fault.Unavailable, plain(err), "cannot speak netlink about %s", c.name)
	}
	generic, err := netlink.Dial(genericFamily, config)
	if err != nil {
		return cannot(err)
	}
	c.generic = genetlink.NewConn(generic)
	if c.route, err = netlink.Dial(0, config); err != nil {
		return cannot(err)
	}
	// Kernels that do not know an option go without: an acknowledgement without
	// the request, so that no key comes back, and words beside an error number.
	for _, conn := range []*netlink.Conn{generic, c.route} {
		_ = conn.SetOption(netlink.CapAcknowledge, true)
		_ = conn.SetOption(netlink.ExtendedAcknowledge, true)
	}
	c.stop = context.AfterFunc(c.ctx, func() {
		past := time.Unix(1, 0)
		_ = generic.SetDeadline(past)
		_ = c.route.SetDeadline(past)
	})
	return nil
}

// genericFamily is NETLINK_GENERIC; NETLINK_ROUTE is zero.
const genericFamily = 16

// find looks the interface and the family up.
func (c *Conn) find() error {
	name := []netlink.Attribute{raw(iflaIfname, append([]byte(c.name), 0))}
	replies, err := c.link(rtmGetLink, 0, name)
	if errors.Is(err, syscall.ENODEV) {
		return fault.New(fault.Unavailable, "no interface %s: create it with ip link add link PORT %s type macsec", c.name, c.name)
	}
	if err != nil {
		return c.failed(err, "look for", false)
	}
	if len(replies) == 0 {
		return fault.New(fault.Unavailable, "look for %s: the kernel gave no answer", c.name)
	}
	index, kind, err := parseLink(replies[0].Data)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "look for %s: the kernel's answer makes no sense", c.name)
	}
	if kind != familyName {
		return fault.New(fault.Unavailable, "%s is not a MACsec interface: ip -d link show %s says what it is", c.name, c.name)
	}
	c.index = index
	c.family, err = c.generic.GetFamily(familyName)
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Unavailable, "the kernel has no MACsec: load it with modprobe macsec")
	}
	return c.failed(err, "look for", false)
}

// Close ends the operation.
func (c *Conn) Close() {
	c.stop()
	if c.generic != nil {
		_ = c.generic.Close()
	}
	if c.route != nil {
		_ = c.route.Close()
	}
}

// Show reads the SecY.
func (c *Conn) Show() (SecY, error) {
	messages, err := c.generic.Execute(c.message(cmdGetTXSC, nil), c.family.ID, netlink.Request|netlink.Dump)
	if err != nil {
		return SecY{}, c.failed(err, "read", false)
	}
	for _, m := range messages {
		index, s, err := parseSecY(m.Data)
		if index != c.index {
			continue
		}
		if err != nil {
			return SecY{}, fault.Wrap(fault.Unavailable, err, "read %s: the kernel's answer makes no sense", c.name)
		}
		c.suite = s.Suite
		return s, nil
	}
	return SecY{}, fault.New(fault.Unavailable, "read %s: the interface is gone", c.name)
}

func (c *Conn) message(command uint8, data []byte) genetlink.Message {
	return genetlink.Message{Header: genetlink.Header{Command: command, Version: c.family.Version}, Data: data}
}

// link sends a request about an interface: the one of an index, or the one of a
// name among attrs.
func (c *Conn) link(message netlink.HeaderType, index uint32, attrs []netlink.Attribute) ([]netlink.Message, error) {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return nil, err
	}
	info := make([]byte, ifinfomsgSize)
	binary.NativeEndian.PutUint32(info[4:], index)
	flags := netlink.Request
	if message != rtmGetLink {
		flags |= netlink.Acknowledge
	}
	return c.route.Execute(netlink.Message{
		Header: netlink.Header{Type: message, Flags: flags}, Data: append(info, data...),
	})
}

// failed makes an operator's message of what netlink said.
func (c *Conn) failed(err error, verb string, changes bool) error {
	said := plain(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && c.ctx.Err() != nil:
		kind := fault.Unavailable
		if changes {
			kind = fault.Unknown
		}
		return fault.Wrap(kind, c.ctx.Err(), "%s %s: the kernel did not answer in time", verb, c.name)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fault.New(fault.Unavailable, "%s %s: %w: the agent needs CAP_NET_ADMIN", verb, c.name, said)
	case errors.Is(err, syscall.ENODEV):
		return fault.New(fault.Unavailable, "%s %s: the interface is gone", verb, c.name)
	case errors.Is(err, syscall.ENOENT) && changes:
		return fault.New(fault.Unavailable, "%s %s: the kernel lacks the cipher gcm(aes): load it with modprobe -a aes_generic ghash_generic gcm ctr", verb, c.name)
	case errors.As(err, new(syscall.Errno)):
		return fault.New(fault.Unavailable, "%s %s: the kernel says: %w", verb, c.name, said)
	case changes:
		return fault.New(fault.Unknown, "%s %s: %w", verb, c.name, said)
	}
	return fault.New(fault.Unavailable, "%s %s: %w", verb, c.name, said)
}

// plain is err without what Go's libraries put before the system's own words, but
// with the kernel's explanation where it gave one.
func plain(err error) error {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return err
	}
	var op *netlink.OpError
	if errors.As(err, &op) && op.Message != "" {
		return explained{number, strings.TrimSpace(op.Message)}
	}
	return number
}

// explained is an error number with the kernel's explanation.
type explained struct {
	syscall.Errno
	message string
}

func (e explained) Error() string { return e.Errno.Error() + ": " + e.message }

func (e explained) Unwrap() error { return e.Errno }
