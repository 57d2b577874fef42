package storetest

import (
	"net"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/store"
)

// wire stands between a Store and etcd, and can be cut.
type wire struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	isCut bool
	conns map[net.Conn]struct{}
	// eavesdrop, if not nil, is called before any answer of etcd is let through;
	// an answer for which it gives false is lost, and the wire cut.
	eavesdrop func() bool
}

// wired is a wire to the server and the Config of a Store that uses it.
func (e *env) wired(t *testing.T) (*wire, store.Config) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wire{listener: l, target: e.config.Endpoints[0], conns: make(map[net.Conn]struct{})}
	go w.serve()
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
	})
	c := e.config
	c.Endpoints = []string{l.Addr().String()}
	return w, c
}

// cut drops all connections and takes no new ones.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}

// isDown waits until the wire is cut.
func (w *wire) isDown(t *testing.T) {
	t.Helper()
	until(t, "the wire is cut", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.isCut
	})
}

// mend lets new connections through, and asks f about every answer.
func (w *wire) mend(f func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut, w.eavesdrop = false, f
}

// passes reports whether an answer is let through.
func (w *wire) passes() bool {
	w.mu.Lock()
	f := w.eavesdrop
	w.mu.Unlock()
	return f == nil || f()
}

// keep notes an open connection, or closes it when the wire is cut.
func (w *wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		_ = c.Close()
		return false
	}
	w.conns[c] = struct{}{}
	return true
}

func (w *wire) serve() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		if !w.keep(near) {
			continue
		}
		far, err := net.Dial("tcp", w.target)
		if err != nil || !w.keep(far) {
			_ = near.Close()
			continue
		}
		go w.pipe(far, near, func() bool { return true })
		go w.pipe(near, far, w.passes)
	}
}

func (w *wire) pipe(to, from net.Conn, passes func() bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !passes() {
			w.cut()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
