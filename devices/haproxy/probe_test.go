package haproxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/haproxy"
	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// issuer is a TLS server whose tickets begin with a name.
type issuer struct {
	address string
	name    atomic.Value // [16]byte
}

func issue(t *testing.T, tickets bool, version uint16) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	do(t, err)
	plain := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"www.example.org"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, plain, plain, key.Public(), key)
	do(t, err)
	s := &issuer{}
	s.name.Store([16]byte{})
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, MaxVersion: version, SessionTicketsDisabled: !tickets,
		WrapSession: func(tls.ConnectionState, *tls.SessionState) ([]byte, error) {
			name := s.name.Load().([16]byte)
			return append(name[:], "sealed"...), nil
		},
		UnwrapSession: func([]byte, tls.ConnectionState) (*tls.SessionState, error) { return nil, nil },
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	do(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s.address = l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = tls.Server(conn, config).Read(make([]byte, 1)) // a handshake, and whatever comes
			}()
		}
	}()
	return s
}

func probed(t *testing.T, b *balancer, address string) *haproxy.Device {
	t.Helper()
	d, err := haproxy.New("n1", map[string]any{"master": b.socket, "links": map[string]any{
		"a": map[string]any{"keyFile": b.files[0], "probe": address, "serverName": "www.example.org"},
	}})
	do(t, err)
	return d
}

func TestAFreshTicketMustBearOutTheRing(t *testing.T) {
	b, d, one, _, _, _ := inUse(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := issue(t, true, version)
		p := probed(t, b, s.address)
		says := func(want string) {
			t.Helper()
			_, err := p.Upstream().Observe(t.Context(), "a")
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v (%v), want %q", err, fault.Of(err), want)
			}
		}
		says("not sealed with a key of keyorch")
		s.name.Store(keying.Name(keychain.Ref{Epoch: 9, KCV: "a1b2c3d4e5"}))
		says("sealed with epoch 9 (a1b2c3d4e5), the ring says " + one.Ref.String())
		s.name.Store(keying.Name(one.Ref))
		if o, err := p.Upstream().Observe(t.Context(), "a"); err != nil || o.Sends != one.Ref {
			t.Errorf("%v, %v", o, err)
		}
	}
	stands(t, b, d, one.Ref, one.Ref)
}

func TestAProbeThatGivesNoTicket(t *testing.T) {
	b, _, _, _, _, _ := inUse(t)
	silent := issue(t, false, tls.VersionTLS13)
	_, err := probed(t, b, silent.address).Upstream().Observe(t.Context(), "a")
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no-tls-tickets") {
		t.Errorf("%v (%v)", err, fault.Of(err))
	}
	_, err = probed(t, b, "127.0.0.1:1").Upstream().Observe(t.Context(), "a")
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "take a ticket from 127.0.0.1:1") {
		t.Errorf("%v (%v)", err, fault.Of(err))
	}
}
