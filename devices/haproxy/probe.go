package haproxy

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// probeTime is how long taking a ticket may last.
const probeTime = 3 * time.Second

// prove takes a ticket from the probe's address and compares the name of the key
// that it was sealed with. It proves nothing where there is no probe. What is wrong
// is wrong in a configuration: Unavailable, and looked at again.
func (s shared) prove(ctx context.Context, want name) error {
	if s.probe == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	got, err := s.ticket(ctx)
	switch {
	case err != nil:
		return fault.Wrap(fault.Unavailable, err, "take a ticket from %s", s.probe)
	case got == want:
		return nil
	case got.ref().IsZero():
		return fault.New(fault.Unavailable, "tickets from %s are not sealed with a key of keyorch: give its bind line tls-ticket-keys %s, and no no-tls-tickets", s.probe, s.ring)
	}
	return fault.New(fault.Unavailable, "tickets from %s are sealed with epoch %v, the ring says %v", s.probe, got.ref(), want.ref())
}

// ticket is the name of the key that a fresh ticket is sealed with.
func (s shared) ticket(ctx context.Context) (name, error) {
	cache := &catcher{got: make(chan name, 1)}
	dialer := tls.Dialer{Config: &tls.Config{
		ServerName: s.serverName, ClientSessionCache: cache, MinVersion: tls.VersionTLS12,
		// Whose certificate it is does not matter: nothing is said to it, and a name
		// that is not the ring's is a mismatch.
		InsecureSkipVerify: true,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", s.probe)
	if err != nil {
		return name{}, err
	}
	defer func() { _ = conn.Close() }() // nothing was said over it
	go func() {
		// With TLS 1.3 tickets come after the handshake, where data would be read.
		_, _ = conn.Read(make([]byte, 1))
	}()
	select {
	case n := <-cache.got:
		return n, nil
	case <-ctx.Done():
		return name{}, fault.New(fault.Unavailable, "no ticket came within %v: is no-tls-tickets in its configuration?", probeTime)
	}
}

// catcher keeps the name of the first ticket.
type catcher struct{ got chan name }

func (*catcher) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c *catcher) Put(_ string, s *tls.ClientSessionState) {
	if s == nil {
		return
	}
	ticket, _, err := s.ResumptionState()
	if err != nil || len(ticket) < nameSize {
		return
	}
	select {
	case c.got <- name(ticket[:nameSize]):
	default:
	}
}
