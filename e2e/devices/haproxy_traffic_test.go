//go:build devices

package devices_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// resumptions is clients that get a ticket at one balancer and resume with it at
// another, one after the other. One that cannot resume, or fails, is lost.
type resumptions struct {
	from, to string // addresses

	mu      sync.Mutex
	resumed []bool // by number
	why     map[string]int
	stop    chan struct{}
	done    chan struct{}
}

// clientTime is how long a connection of a client may take.
const clientTime = 5 * time.Second

func startResumptions(t *testing.T, from, to string) *resumptions {
	t.Helper()
	r := &resumptions{from: from, to: to, why: map[string]int{}, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for {
			select {
			case <-r.stop:
				return
			case <-time.After(5 * time.Millisecond):
				r.note(r.try())
			}
		}
	}()
	t.Cleanup(func() {
		close(r.stop)
		<-r.done
		t.Logf("%s to %s: %d resumptions, lost: %v", r.from, r.to, len(r.resumed), r.why)
	})
	return r
}

func (r *resumptions) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resumed = append(r.resumed, err == nil)
	if err != nil {
		r.why[err.Error()]++
	}
}

// try is one client.
func (r *resumptions) try() error {
	w := &wallet{}
	if _, err := visit(r.from, w); err != nil {
		return err
	}
	again, err := visit(r.to, w)
	if err == nil && !again {
		return errors.New("a full handshake")
	}
	return err
}

// visit asks a balancer for its page, and reports whether the session was resumed.
func visit(address string, w *wallet) (resumed bool, err error) {
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: clientTime},
		Config:    &tls.Config{ServerName: "www.example.org", InsecureSkipVerify: true, ClientSessionCache: w},
	}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(clientTime))
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return false, err
	}
	if _, err := io.ReadAll(conn); err != nil {
		return false, err
	}
	return conn.(*tls.Conn).ConnectionState().DidResume, nil
}

// wallet is a client's ticket.
type wallet struct{ ticket *tls.ClientSessionState }

func (w *wallet) Get(string) (*tls.ClientSessionState, bool) { return w.ticket, w.ticket != nil }
func (w *wallet) Put(_ string, s *tls.ClientSessionState)    { w.ticket = s }

// Mark implements proof.Meter: the client after the one that is on its way.
func (r *resumptions) Mark() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(len(r.resumed)) + 1
}

// Since implements proof.Meter. A client that is on its way is waited for.
func (r *resumptions) Since(mark uint64) testbed.Count {
	last := r.Mark()
	for deadline := time.Now().Add(4 * clientTime); time.Now().Before(deadline) && r.Mark() <= last; time.Sleep(time.Millisecond) {
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var c testbed.Count
	for n := mark; n < uint64(len(r.resumed)); n++ {
		c.Sent++
		if !r.resumed[n] {
			c.Lost++
		}
	}
	return c
}
