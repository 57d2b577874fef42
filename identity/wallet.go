package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Wallet gives the certificate of Files to every new connection as it then is, so
// that one that was renewed needs no restart, nor do new authorities.
//
// While the files cannot be used, because somebody is writing them or because the
// renewal went wrong, what was last read of them goes on being used.
type Wallet struct {
	files  Files
	server string
	now    func() time.Time

	mu    sync.Mutex
	last  Certificate
	stale error
}

// Open reads the files once, as Read does, with its faults.
func (f Files) Open(server string) (*Wallet, error) {
	w := &Wallet{files: f, server: server, now: time.Now}
	var err error
	w.last, err = f.Read(w.now(), server)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Current reads the files and gives what is in them, or what was when they could last
// be used.
func (w *Wallet) Current() Certificate {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, err := w.files.Read(w.now(), w.server)
	w.stale = err
	if err == nil {
		w.last = now
	}
	return w.last
}

// Err is why the files could not be used when they were last read, or nil.
func (w *Wallet) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stale
}

// Dial is how to speak to a server once. Its name, a DNS name or an IP address, must
// be in its certificate.
func (w *Wallet) Dial(name string) *tls.Config { return w.Current().Dial(name) }

// Dial is Wallet.Dial with what was read at some time.
func (c Certificate) Dial(name string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, RootCAs: c.roots, GetClientCertificate: c.show}
}

// ClientTLS is Dial for a client that makes one connection after the other from one
// tls.Config: the authorities too are those of the file as it is at each. Name must
// not be empty. Faults: Invalid.
func (w *Wallet) ClientTLS(name string) (*tls.Config, error) {
	if name == "" {
		return nil, fault.New(fault.Invalid, "connect to %s: the name that its certificate must have is not known", w.server)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: name,
		// A tls.Config holds authorities that do not change. So the check that it would
		// make is left out, and made below in the same words with those of the file.
		InsecureSkipVerify: true,
		VerifyConnection:   func(state tls.ConnectionState) error { return w.Current().verify(state, name) },
		GetClientCertificate: func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return w.Current().show(request)
		},
	}, nil
}

// show gives the certificate whatever authorities the server names: it says itself
// whether it accepts it.
func (c Certificate) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.pair, nil }

// verify is Verify with the authorities of c.
func (c Certificate) verify(state tls.ConnectionState, name string) error {
	return Verify(state.PeerCertificates, c.roots, name)
}

// Verify is what package crypto/tls does with the chain that a server shows. The name
// that it must have is not taken from the connection, which has none when it is an IP
// address. Roots nil means the system's.
func Verify(chain []*x509.Certificate, roots *x509.CertPool, name string) error {
	if len(chain) == 0 {
		return errors.New("the server shows no certificate")
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name}); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return nil
}
