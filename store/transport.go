package store

import (
	"context"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/keyorch/keyorch/identity"
)

// transport makes every connection with the certificate and the authorities that are
// in the files at that time. It remembers how the last one ended, which calls that
// wait for a connection do not tell, and as whom it was made.
type transport struct {
	credentials.TransportCredentials // for what is the same for all connections
	wallet                           *identity.Wallet
	last                             *verdict
}

// ClientHandshake makes one connection. Authority is where it goes.
func (t transport) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	name, _, err := net.SplitHostPort(authority)
	if err != nil {
		name = strings.Trim(authority, "[]") // without a port
	}
	shown := t.wallet.Current()
	conn, info, err := credentials.NewTLS(shown.Dial(name)).ClientHandshake(ctx, authority, raw)
	t.last.ended(shown.Identity.CommonName(), err)
	if err != nil {
		return nil, nil, err
	}
	return watched{conn, t.last}, info, nil
}

// Clone is for a connection of its own.
func (t transport) Clone() credentials.TransportCredentials { return t }

// verdict is how the last handshake ended.
type verdict struct {
	mu   sync.Mutex
	err  error
	user string // of the last that went well
}

func (v *verdict) ended(user string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err = err; err == nil {
		v.user = user
	}
}

func (v *verdict) set(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

func (v *verdict) get() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// watched is a connection that takes note when the server ends it with an alert: that
// it refuses the certificate of the client comes after the handshake.
type watched struct {
	net.Conn
	last *verdict
}

func (w watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil && strings.Contains(err.Error(), alert) {
		w.last.set(err)
	}
	return n, err
}

// as is whom the last connection was made as; empty before the first.
func (v *verdict) as() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.user
}
