//go:build devices

package devices_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// balancer is one HAProxy on loopback, with its master's socket.
type balancer struct {
	t       testing.TB
	dir     string
	ports   map[string]string // by link: where TLS is spoken
	level   string            // of the master's socket
	process *testbed.Process
}

// newBalancer starts a HAProxy with a bind for each link. conf makes its
// configuration of the folder and the ports; the ring of each link begins as three
// copies of a stranger's key, the same at every balancer of a test.
func newBalancer(t testing.TB, conf func(b *balancer) string, links ...string) *balancer {
	t.Helper()
	testbed.Need(t, false, "haproxy")
	dir, err := os.MkdirTemp("", "keyorch-haproxy-") // not t's own, whose name may hold a comma: -S takes what follows for an option
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &balancer{t: t, dir: dir, ports: map[string]string{}, level: "admin"}
	for _, link := range links {
		b.ports[link] = freePort(t)
		b.write(link, strings.Repeat(strangersKey()+"\n", 3))
	}
	b.write("site.pem", certificate(t))
	b.write("haproxy.cfg", conf(b))
	b.start()
	return b
}

func (b *balancer) socket() string             { return filepath.Join(b.dir, "master.sock") }
func (b *balancer) log() string                { return filepath.Join(b.dir, "haproxy.log") }
func (b *balancer) keyFile(link string) string { return filepath.Join(b.dir, link) }
func (b *balancer) address(link string) string { return "127.0.0.1:" + b.ports[link] }
func (b *balancer) write(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *balancer) start() {
	b.t.Helper()
	path := "haproxy"
	if _, err := os.Stat("/usr/sbin/haproxy"); err == nil {
		path = "/usr/sbin/haproxy" // not in everybody's PATH
	}
	b.process = testbed.Namespace{}.Start(b.t, b.log(), nil, path, "-W", "-db", "-f", filepath.Join(b.dir, "haproxy.cfg"),
		"-S", b.socket()+",mode,600,level,"+b.level)
	testbed.Until(b.t, 20*time.Second, "haproxy answers", func() bool { return strings.Contains(b.ask("show proc"), "# workers") })
}

func (b *balancer) restart() {
	b.t.Helper()
	b.process.Stop()
	b.start()
}

// ask is the operator at the master's socket.
func (b *balancer) ask(command string) string {
	conn, err := net.Dial("unix", b.socket())
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = fmt.Fprintln(conn, command)
	_ = conn.(*net.UnixConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// strangersKey is a ticket key that keyorch did not make.
func strangersKey() string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("stranger"), 10))
}

// manyBinds is a configuration with a bind for each link.
func manyBinds(b *balancer) string {
	conf := "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nfrontend f\n http-request return status 200\n"
	for link, port := range b.ports {
		conf += fmt.Sprintf(" bind 127.0.0.1:%s ssl crt %s/site.pem tls-ticket-keys %s\n", port, b.dir, b.keyFile(link))
	}
	return conf
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// certificate is a certificate with its key, as HAProxy reads them.
func certificate(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"www.example.org"}, NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}
