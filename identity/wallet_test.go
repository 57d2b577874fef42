package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
)

// server accepts connections, and tells which common name each client showed.
func server(t *testing.T, files identity.Files, clients *identitytest.Authority) (address string, names <-chan string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(clients.PEM())
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	seen := make(chan string, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c := conn.(*tls.Conn)
			if c.Handshake() == nil {
				seen <- c.ConnectionState().PeerCertificates[0].Subject.CommonName
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String(), seen
}

// connect makes one connection both ways that a Wallet offers, and wants both to end
// alike.
func connect(t *testing.T, w *identity.Wallet, address, name string) error {
	t.Helper()
	long, err := w.ClientTLS(name)
	if err != nil {
		t.Fatal(err)
	}
	var errs [2]error
	for i, config := range []*tls.Config{long, w.Dial(name)} {
		conn, err := tls.Dial("tcp", address, config)
		if err == nil {
			_ = conn.Close()
		}
		errs[i] = err
	}
	if (errs[0] == nil) != (errs[1] == nil) {
		t.Fatalf("the two ways differ: %v, %v", errs[0], errs[1])
	}
	return errs[0]
}

func TestServersAreVerified(t *testing.T) {
	good, evil := identitytest.NewAuthority(t), identitytest.NewAuthority(t)
	w, err := good.Issue(t, dc2).Open("etcd")
	if err != nil {
		t.Fatal(err)
	}
	past := identitytest.Life(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	for _, c := range []struct {
		what  string
		files identity.Files
		name  string
		want  any
	}{
		{"the right server by address", good.Issue(t, "s", identitytest.Server("127.0.0.1")), "127.0.0.1", nil},
		{"the right server by name", good.Issue(t, "s", identitytest.Server("etcd.example")), "etcd.example", nil},
		{"another address", good.Issue(t, "s", identitytest.Server("127.0.0.2")), "127.0.0.1", &x509.HostnameError{}},
		{"another name", good.Issue(t, "s", identitytest.Server("vault.example")), "etcd.example", &x509.HostnameError{}},
		{"no name", good.Issue(t, "s", identitytest.Server()), "127.0.0.1", &x509.HostnameError{}},
		{"another authority", evil.Issue(t, "s", identitytest.Server("127.0.0.1")), "127.0.0.1", &x509.UnknownAuthorityError{}},
		{"expired", good.Issue(t, "s", identitytest.Server("127.0.0.1"), past), "127.0.0.1", &x509.CertificateInvalidError{}},
		{"a client's certificate", good.Issue(t, "s", identitytest.Server("127.0.0.1"), clientOnly), "127.0.0.1", &x509.CertificateInvalidError{}},
	} {
		address, _ := server(t, c.files, good)
		err := connect(t, w, address, c.name)
		if c.want == nil {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if err == nil || !errors.As(err, c.want) {
			t.Errorf("%s: %v, want %T", c.what, err, c.want)
		}
	}
	if _, err := w.ClientTLS(""); !fault.Is(err, fault.Invalid) {
		t.Errorf("a server without a name: %v", err)
	}
}

func clientOnly(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

// The check above would see a client that verifies nothing.
func TestServersThatAreNotVerifiedAreSeen(t *testing.T) {
	good, evil := identitytest.NewAuthority(t), identitytest.NewAuthority(t)
	w, err := good.Issue(t, dc2).Open("etcd")
	if err != nil {
		t.Fatal(err)
	}
	config, err := w.ClientTLS("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	config.VerifyConnection = nil
	address, _ := server(t, evil.Issue(t, "s", identitytest.Server("127.0.0.1")), good)
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal("nothing verifies the server, and something does:", err)
	}
	_ = conn.Close()
}

func TestCertificateAndAuthoritiesAreReadForEachConnection(t *testing.T) {
	first, second := identitytest.NewAuthority(t), identitytest.NewAuthority(t)
	files := first.Issue(t, dc2)
	w, err := files.Open("etcd")
	if err != nil {
		t.Fatal(err)
	}
	oldServer, seenOld := server(t, first.Issue(t, "s", identitytest.Server("127.0.0.1")), first)
	newServer, seenNew := server(t, second.Issue(t, "s", identitytest.Server("127.0.0.1")), second)
	lasting, err := w.ClientTLS("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(address string) error {
		conn, err := tls.Dial("tcp", address, lasting)
		if err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1)) // a refusal comes after the handshake
		_ = conn.Close()
		if err != nil && strings.Contains(err.Error(), "remote error") {
			return err
		}
		return nil
	}
	if err := dial(oldServer); err != nil {
		t.Fatal(err)
	}
	if name := <-seenOld; name != dc2 {
		t.Fatalf("the server saw %s", name)
	}
	if dial(newServer) == nil {
		t.Fatal("the new server is trusted before its authority is in the file")
	}
	// Files that are being written change nothing.
	good, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	identitytest.Write(t, files.Cert, good[:len(good)/2])
	if err := dial(oldServer); err != nil {
		t.Fatal("while the certificate is written:", err)
	}
	if err := w.Err(); err == nil {
		t.Fatal("nobody can tell that the files cannot be read")
	}
	next := second.Issue(t, "keyorch-agent-2.dc2")
	for from, to := range map[string]string{next.CA: files.CA, next.Cert: files.Cert, next.Key: files.Key} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		identitytest.Write(t, to, text)
	}
	if err := dial(newServer); err != nil {
		t.Fatal("after the renewal:", err)
	}
	if name := <-seenNew; name != "keyorch-agent-2.dc2" || w.Err() != nil {
		t.Fatalf("the server saw %s; %v", name, w.Err())
	}
	if dial(oldServer) == nil {
		t.Fatal("the old server is trusted after its authority has left the file")
	}
}
