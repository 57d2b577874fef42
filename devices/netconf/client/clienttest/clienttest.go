// Package clienttest has an SSH server with the subsystem netconf, in the process
// of a test: for a device that says what the test wants, and for a relay that
// stands between a client and a real device.
package clienttest

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/keyorch/keyorch/devices/netconf/client"
)

// Server is an SSH server that lets everybody in who has the key in Identity.
type Server struct {
	Address  string
	HostKey  string // as its fingerprint
	HostLine string // as a line with the public key
	Identity string // the file with the private key of the user
}

// Target is how a client gets in.
func (s Server) Target(t testing.TB) client.Target {
	t.Helper()
	key, err := client.ParseHostKey(s.HostKey)
	must(t, err)
	return client.Target{Address: s.Address, User: "keyorch", Identity: s.Identity, HostKey: key}
}

// Serve starts a server that calls handle for every session of the subsystem
// netconf, and closes the connection when it returns. It ends with the test.
func Serve(t testing.TB, handle func(session io.ReadWriter)) Server {
	t.Helper()
	host, user := NewKey(t), NewKey(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), user.Signer.PublicKey().Marshal()) {
			return nil, fmt.Errorf("it is not the user's key")
		}
		return nil, nil
	}}
	config.AddHostKey(host.Signer)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn, config, handle)
		}
	}()
	return Server{
		Address: listener.Addr().String(), HostKey: ssh.FingerprintSHA256(host.Signer.PublicKey()),
		HostLine: string(ssh.MarshalAuthorizedKey(host.Signer.PublicKey())), Identity: user.File,
	}
}

func serve(conn net.Conn, config *ssh.ServerConfig, handle func(io.ReadWriter)) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			var name struct{ Name string }
			ok := r.Type == "subsystem" && ssh.Unmarshal(r.Payload, &name) == nil && name.Name == "netconf"
			_ = r.Reply(ok, nil)
			if ok {
				go ssh.DiscardRequests(requests)
				handle(channel)
				_ = channel.Close()
				return
			}
		}
	}
}

// Key is a private key, also in a file of mode 0600.
type Key struct {
	Signer ssh.Signer
	File   string
}

// NewKey makes a key.
func NewKey(t testing.TB) Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	file := filepath.Join(t.TempDir(), "id")
	must(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	return Key{Signer: signer, File: file}
}

// Hello is the hello of a device with these capabilities beside base 1.0.
func Hello(capabilities ...string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<hello xmlns="%s"><capabilities>`, client.Namespace)
	for _, c := range append([]string{"urn:ietf:params:netconf:base:1.0"}, capabilities...) {
		fmt.Fprintf(&b, "<capability>%s</capability>", client.Text(c))
	}
	b.WriteString("</capabilities><session-id>7</session-id></hello>")
	return b.String()
}

// Speak is a handler for Serve, in the framing of NETCONF 1.0: it says hello, and
// to the content of every request what answer gives, in an rpc-reply. An empty
// answer ends the session.
func Speak(hello string, answer func(request string) string) func(io.ReadWriter) {
	return func(rw io.ReadWriter) {
		_, _ = io.WriteString(rw, hello+eom)
		r := bufio.NewReader(rw)
		_, _ = Message(r)
		for {
			request, err := Message(r)
			if err != nil {
				return
			}
			m := envelope.FindStringSubmatch(request)
			if m == nil {
				return
			}
			id, _ := strconv.Atoi(m[1])
			say := answer(m[2])
			if say == "" {
				return
			}
			_, _ = fmt.Fprintf(rw, `<rpc-reply xmlns="%s" message-id="%d">%s</rpc-reply>%s`, client.Namespace, id, say, eom)
		}
	}
}

const eom = "]]>]]>"

var envelope = regexp.MustCompile(`(?s)<rpc [^>]*message-id="(\d+)"[^>]*>(.*)</rpc>`)

// Message reads one message in the framing of NETCONF 1.0.
func Message(r *bufio.Reader) (string, error) {
	var b []byte
	for !bytes.HasSuffix(b, []byte(eom)) {
		part, err := r.ReadBytes('>')
		if err != nil {
			return "", err
		}
		b = append(b, part...)
	}
	return string(b[:len(b)-len(eom)]), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
