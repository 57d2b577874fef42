package testbed

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Proxy stands in front of a device's control socket and troubles one operation
// when it is told to: the next one whose request holds a telling word.
type Proxy struct {
	// Refusal is what FailNext answers in the device's place; empty: nothing, the
	// connection is closed. It is set before the first trouble.
	Refusal string
	// Dark is for how long after a lost answer nobody gets through: the device cannot
	// be asked either what became of it. It is set before the first trouble.
	Dark time.Duration

	network, target string
	tells           []byte
	mu              sync.Mutex
	trouble         trouble
	darkUntil       time.Time
	released        chan struct{}
}

// trouble is what is done to the next telling request.
type trouble int

const (
	none trouble = iota
	fail         // it does not reach the device, and is refused
	hang         // it does not reach the device, and nothing comes back
	lose         // it reaches the device, and the answer does not come back
	hold         // it reaches the device once it is released
)

// NewProxy listens on address ("unix" path or "tcp" host:port) and passes on to
// target. A request is one read of what the client writes; tells is what an
// operation that changes the device has in it.
func NewProxy(t testing.TB, network, address, target, tells string) *Proxy {
	t.Helper()
	if network == "unix" {
		_ = os.Remove(address)
	}
	l, err := net.Listen(network, address)
	must(t, err)
	p := &Proxy{network: network, target: target, tells: []byte(tells)}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(client)
		}
	}()
	return p
}

// FailNext makes the next telling request fail before it reaches the device.
func (p *Proxy) FailNext() { p.set(fail) }

// LoseNext lets the next telling request through and loses the answer.
func (p *Proxy) LoseNext() { p.set(lose) }

// HangNext keeps the next telling request without an answer; clear takes that back.
func (p *Proxy) HangNext() (clear func()) {
	p.set(hang)
	return func() { p.set(none) }
}

// HoldNext keeps the next telling request back until release is called.
func (p *Proxy) HoldNext() (release func()) {
	p.mu.Lock()
	released := make(chan struct{})
	p.released = released
	p.mu.Unlock()
	p.set(hold)
	return sync.OnceFunc(func() { close(released) })
}

// Troubled reports whether the last trouble that was asked for has come to pass.
func (p *Proxy) Troubled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble == none
}

func (p *Proxy) set(t trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = t
}

// take is the trouble for this request, once.
func (p *Proxy) take(request []byte) trouble {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Contains(request, p.tells) {
		return none
	}
	t := p.trouble
	p.trouble = none
	if t == lose {
		p.darkUntil = time.Now().Add(p.Dark)
	}
	return t
}

func (p *Proxy) dark() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.darkUntil)
}

// wait waits for the release of what is held.
func (p *Proxy) wait() {
	p.mu.Lock()
	released := p.released
	p.mu.Unlock()
	<-released
}

// dial connects to the device, again while the line of those who wait is full: a
// device may let few wait, and the client has been told that it is connected.
func (p *Proxy) dial() (net.Conn, error) {
	for {
		device, err := net.Dial(p.network, p.target)
		if !errors.Is(err, syscall.EAGAIN) {
			return device, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *Proxy) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	if p.dark() {
		return
	}
	device, err := p.dial()
	if err != nil {
		return
	}
	defer func() { _ = device.Close() }()
	var lost atomic.Bool
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		defer func() { _ = client.Close() }()
		answers := make([]byte, 32<<10)
		for {
			n, err := device.Read(answers)
			if err != nil || lost.Load() {
				return
			}
			_, _ = client.Write(answers[:n])
		}
	}()
	requests := make([]byte, 32<<10)
	for {
		n, err := client.Read(requests)
		if n > 0 {
			switch p.take(requests[:n]) {
			case none:
				_, _ = device.Write(requests[:n])
			case hold:
				p.wait()
				_, _ = device.Write(requests[:n])
			case fail:
				_, _ = io.WriteString(client, p.Refusal)
				return
			case hang:
				_, _ = io.Copy(io.Discard, client) // until the client gives up
				return
			case lose:
				lost.Store(true)
				_, _ = device.Write(requests[:n])
				<-answered
				return
			}
		}
		if err != nil {
			return
		}
	}
}
