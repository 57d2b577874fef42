package haproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/secret"
)

const (
	// patience is how long a master may leave a question without an answer: while it
	// reloads it refuses connections.
	patience = 3 * time.Second
	// between is how long to wait before asking again.
	between = 20 * time.Millisecond
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 64 << 10
)

// worker goes before a command that is for the worker in charge.
const worker = "@1 "

// errNoAnswer is that a connection ended before anything came back.
var errNoAnswer = errors.New("it closes the connection without an answer")

// master speaks to HAProxy's master process: one command a connection.
type master struct{ socket string }

// exchange sends a command and gives f the answer, which is cleared afterwards. sent
// reports whether the command may have arrived.
func (m master) exchange(ctx context.Context, command []byte, f func(answer []byte)) (sent bool, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", m.socket)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // the answer is what counts
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if n, err := conn.Write(command); err != nil {
		return n > 0, errors.Join(ctx.Err(), err)
	}
	b := make([]byte, maxAnswer)
	defer clear(b)
	n, err := answer(conn, b)
	switch {
	case ctx.Err() != nil && err != nil:
		return true, ctx.Err()
	case err != nil && !errors.Is(err, io.EOF):
		return true, err
	case len(bytes.TrimSpace(b[:n])) == 0:
		return true, errNoAnswer
	}
	f(bytes.TrimSpace(b[:n]))
	return true, nil
}

// answer reads up to the end of the connection, or the empty line after which a
// worker's answer goes on waiting for more commands.
func answer(conn io.Reader, b []byte) (n int, err error) {
	for n < len(b) {
		more, err := conn.Read(b[n:])
		n += more
		if err != nil || bytes.HasSuffix(b[:n], []byte("\n\n")) {
			return n, err
		}
	}
	return n, errors.New("the answer is too long")
}

// ask asks what changes nothing, again while the master reloads.
func (m master) ask(ctx context.Context, command string, f func(answer []byte)) error {
	for deadline := time.Now().Add(patience); ; {
		_, err := m.exchange(ctx, []byte(command+"\n"), f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fault.Wrap(fault.Unavailable, ctx.Err(), "ask haproxy at %s", m.socket)
		case !reloading(err) || time.Now().After(deadline):
			return m.unreachable(err)
		}
		pause(ctx)
	}
}

// reloading reports whether a master that reloads could be why.
func reloading(err error) bool {
	return errors.Is(err, errNoAnswer) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.EAGAIN)
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(between):
	}
}

// ring reads the ring of the worker in charge. The caller wipes it.
func (m master) ring(ctx context.Context, name string) (keys, error) {
	var k keys
	var bad error
	if err := m.ask(ctx, worker+"show tls-keys "+name, func(b []byte) { k, bad = parseRing(b) }); err != nil {
		return keys{}, err
	}
	if bad != nil {
		return keys{}, fault.Wrap(fault.Unavailable, bad, "read the ring %s of haproxy at %s", name, m.socket)
	}
	return k, nil
}

// push pushes a key into the ring. Errors: Unavailable (nothing happened), Unknown.
func (m master) push(ctx context.Context, name string, k secret.Key) error {
	command := make([]byte, 0, 512+len(name))
	defer clear(command[:cap(command)])
	command = append(command, worker+"set ssl tls-key "+name+" "...)
	command = append(appendKey(command, k), '\n')
	var said error
	sent, err := m.exchange(ctx, command, func(b []byte) { said = pushAnswer(b) })
	switch {
	case err != nil && sent:
		return fault.Wrap(fault.Unknown, err, "push a key to haproxy at %s", m.socket)
	case err != nil:
		return m.unreachable(err)
	}
	return fault.Wrap(fault.Unavailable, said, "push a key to haproxy at %s", m.socket)
}

// unreachable is that a connection failed.
func (m master) unreachable(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	hint := ""
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		hint = ": is it running, with -W -S " + m.socket + "?"
	case errors.Is(err, os.ErrPermission):
		hint = ": let the agent's user write to it, as in -S " + m.socket + ",mode,660,group,GROUP"
	}
	return fault.New(fault.Unavailable, "cannot reach haproxy at %s: %w%s", m.socket, err, hint)
}

// mayReload refuses a master whose socket does not let us reload: a rotation could
// be begun on it, and not be aborted.
func (m master) mayReload(ctx context.Context) error {
	var level string
	if err := m.ask(ctx, "show cli level", func(b []byte) { level = strings.TrimSpace(string(b)) }); err != nil {
		return err
	}
	if level == "user" {
		return fault.New(fault.Unavailable, "haproxy at %s lets nobody reload it: its level is user, start it with -S %s,level,admin", m.socket, m.socket)
	}
	return nil
}
