package wireguard

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keyorch/keyorch/fault"
)

// errNoRight says what the kernel does not let the agent do.
var errNoRight = errors.New("operation not permitted: the agent needs the capability CAP_NET_ADMIN in this network namespace")

// unreachable is about a call into the kernel, which was either done or not.
// Everything that it says can be mended: it is Unavailable. It is nil for nil.
func unreachable(err error, format string, a ...any) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		err = errNoRight
	}
	return fault.Wrap(fault.Unavailable, err, format, a...)
}

// guarded is about a call of wgctrl. Its errors quote what a daemon wrote, which
// may be a key, so only those are shown of which the text is known. The others
// are of kind otherwise: a change whose answer was lost may have been made.
func guarded(err error, otherwise fault.Kind, format string, a ...any) error {
	if err == nil {
		return nil
	}
	kind, cause := fault.Unavailable, error(nil)
	errno, known := daemonErrno(err)
	number, plain := errors.AsType[unix.Errno](err)
	dialed, isDial := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		cause = errors.New("its wireguard-go has ended")
	case errors.Is(err, unix.EPERM):
		cause = errNoRight
	case errors.Is(err, unix.EACCES):
		cause = errors.New("permission denied: the agent must be able to open /var/run/wireguard and the sockets in it")
	case errors.Is(err, fs.ErrNotExist):
		cause = errors.New("it does not exist, or is not one of WireGuard")
	case known:
		cause = errors.New("wireguard-go refuses it: " + errno.Error())
	case plain && !(isDial && dialed.Op != "dial"):
		cause = number
	default:
		kind, cause = otherwise, errors.New("wireguard-go gave no answer that can be understood")
	}
	return fault.Wrap(kind, cause, format, a...)
}

// daemonErrno is the number in "read: wguser: errno=-22", which is all that
// wgctrl says of what wireguard-go refuses.
func daemonErrno(err error) (unix.Errno, bool) {
	call, ok := errors.AsType[*os.SyscallError](err)
	if !ok {
		return 0, false
	}
	digits, found := strings.CutPrefix(call.Err.Error(), "wguser: errno=")
	n, bad := strconv.ParseInt(digits, 10, 32)
	if !found || bad != nil || n == 0 {
		return 0, false
	}
	if n < 0 {
		n = -n
	}
	return unix.Errno(n), true
}
