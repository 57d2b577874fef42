//go:build devices

package devices_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/keyorch/keyorch/devices/netconf"
	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/devices/netconf/client/clienttest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// netconfModules has the reduced double of RFC 8177's module: Debian's netconfd
// does not bring the module.
const netconfModules = "testdata/netconf"

// netconfServer is one netconfd behind an sshd of its own, on loopback.
type netconfServer struct {
	dir, address   string
	user, host     clienttest.Key
	options        []string // of netconfd
	daemon, secure *testbed.Process
}

// newNetconfServer starts a server whose startup configuration is empty.
func newNetconfServer(t testing.TB, options ...string) *netconfServer {
	t.Helper()
	testbed.Need(t, true, "netconfd", "openssh-server")
	s := &netconfServer{dir: t.TempDir(), user: clienttest.NewKey(t), host: clienttest.NewKey(t), options: options}
	must(t, os.MkdirAll("/run/sshd", 0o755)) // sshd wants it
	must(t, os.WriteFile(s.file("startup-cfg.xml"), []byte(`<config xmlns="`+client.Namespace+`"></config>`), 0o600))
	must(t, os.WriteFile(s.file("authorized_keys"), ssh.MarshalAuthorizedKey(s.user.Signer.PublicKey()), 0o600))
	s.listen(t)
	s.start(t)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *netconfServer) file(name string) string { return filepath.Join(s.dir, name) }

// port is that of sshd and, since netconfd wants to hear it from its subsystem, of
// all the rest.
func (s *netconfServer) port() string {
	_, port, _ := net.SplitHostPort(s.address)
	return port
}

// listen starts sshd on a free port.
func (s *netconfServer) listen(t testing.TB) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.address = free.Addr().String()
	must(t, free.Close())
	must(t, os.WriteFile(s.file("sshd_config"), []byte(strings.NewReplacer("DIR", s.dir, "PORT", s.port(), "HOSTKEY", s.host.File).Replace(`
Port PORT
ListenAddress 127.0.0.1
HostKey HOSTKEY
AuthorizedKeysFile DIR/authorized_keys
PidFile DIR/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
Subsystem netconf "/usr/sbin/netconf-subsystem --ncxserver-sockname=PORT@DIR/ncx.sock"
`)), 0o600))
	s.secure = testbed.Namespace{}.Start(t, s.file("sshd.log"), nil, "/usr/sbin/sshd", "-D", "-e", "-f", s.file("sshd_config"))
}

// start starts netconfd and waits until it answers.
func (s *netconfServer) start(t testing.TB) {
	t.Helper()
	_ = os.Remove(s.file("ncx.sock")) // one that was left keeps it from starting
	modules, err := filepath.Abs(netconfModules)
	must(t, err)
	args := append([]string{"/usr/sbin/netconfd", "--module=ietf-key-chain", "--modpath=" + modules + ":/usr/share/yuma/modules",
		"--startup=" + s.file("startup-cfg.xml"), "--superuser=root", "--port=" + s.port(),
		"--ncxserver-sockname=" + s.file("ncx.sock")}, s.options...)
	// What an undo goes back to is in a file under HOME, where servers would share it.
	s.daemon = testbed.Namespace{}.Start(t, s.file("netconfd.log"), []string{"HOME=" + s.dir}, args...)
	testbed.Until(t, 20*time.Second, "netconfd answers", func() bool {
		session, err := client.Dial(t.Context(), s.target(t))
		if err == nil {
			session.Close()
		}
		return err == nil
	})
}

// restart is what a power failure does to the server.
func (s *netconfServer) restart(t testing.TB) {
	t.Helper()
	s.daemon.Kill()
	s.start(t)
}

func (s *netconfServer) target(t testing.TB) client.Target {
	t.Helper()
	key, err := client.ParseHostKey(ssh.FingerprintSHA256(s.host.Signer.PublicKey()))
	must(t, err)
	return client.Target{Address: s.address, User: "root", Identity: s.user.File, HostKey: key}
}

// session is one of somebody else's.
func (s *netconfServer) session(t testing.TB) *client.Session {
	t.Helper()
	session, err := client.Dial(t.Context(), s.target(t))
	must(t, err)
	t.Cleanup(session.Close)
	return session
}

// edit changes the key chains as an operator does by hand.
func (s *netconfServer) edit(t testing.TB, inner string) {
	t.Helper()
	session := s.session(t)
	must(t, session.Edit(t.Context(), []byte(keyChains(inner))))
	must(t, session.Commit(t.Context()))
	session.Close()
}

func keyChains(inner string) string {
	return `<key-chains xmlns="urn:ietf:params:xml:ns:yang:ietf-key-chain" xmlns:nc="` + client.Namespace + `">` + inner + "</key-chains>"
}

// fields are the parameters of a device, with a key chain for each link whose name
// begins with prefix.
func (s *netconfServer) fields(prefix string, links ...string) map[string]any {
	parts := map[string]any{}
	for _, link := range links {
		parts[link] = map[string]any{"keychain": prefix + link}
	}
	return map[string]any{
		"address": s.address, "user": "root", "identity": s.user.File, "hostKey": ssh.FingerprintSHA256(s.host.Signer.PublicKey()),
		"confirmTimeout": "5s", "links": parts,
	}
}

func (s *netconfServer) logs() string { return testbed.Tail(s.file("netconfd.log"), 1<<20) }

// relay stands between a driver and a server, reads every request in the clear, and
// troubles one of them.
type relay struct {
	*netconfServer
	*netconf.Device
	mu      sync.Mutex
	trouble string
}

// newRelay is a device with key chains of its own on the server, behind a relay.
func newRelay(t *testing.T, s *netconfServer, prefix string) *relay {
	t.Helper()
	r := &relay{netconfServer: s}
	front := clienttest.Serve(t, func(session io.ReadWriter) { r.pass(session) })
	f := s.fields(prefix, conformanceLinks()...)
	f["address"], f["identity"], f["hostKey"] = front.Address, front.Identity, front.HostKey
	d, err := netconf.New("n1", f)
	must(t, err)
	r.Device = d
	return r
}

// FailNext has the next edit refused, LoseNext loses the answer to the next commit
// that confirms, HangNext keeps the next commit that is to be confirmed.
func (r *relay) FailNext() { r.set("<edit-config>") }
func (r *relay) LoseNext() { r.set("<commit/>") }
func (r *relay) HangNext() (clear func()) {
	r.set("<confirmed/>")
	return func() { r.set("") }
}

func (r *relay) set(trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = trouble
}

func (r *relay) take(request string) (trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble == "" || !strings.Contains(request, r.trouble) {
		return ""
	}
	trouble, r.trouble = r.trouble, ""
	return trouble
}

// subsystem is a connection with the server before any hello.
func (s *netconfServer) subsystem() (rw io.ReadWriter, hangUp func(), err error) {
	conn, err := ssh.Dial("tcp", s.address, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.user.Signer)}, HostKeyCallback: ssh.FixedHostKey(s.host.Signer.PublicKey()),
	})
	if err != nil {
		return nil, nil, err
	}
	hangUp = func() { _ = conn.Close() }
	channel, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		hangUp()
		return nil, nil, err
	}
	go ssh.DiscardRequests(requests)
	if ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"netconf"})); err != nil || !ok {
		hangUp()
		return nil, nil, fmt.Errorf("no subsystem netconf: %w", err)
	}
	return channel, hangUp, nil
}

// pass carries one session, in the framing of NETCONF 1.0. The session on the other
// side ends with it.
func (r *relay) pass(front io.ReadWriter) {
	channel, hangUp, err := r.subsystem()
	if err != nil {
		return
	}
	defer hangUp()
	const chunks = "<capability>urn:ietf:params:netconf:base:1.1</capability>"
	asked, back := bufio.NewReader(front), bufio.NewReader(channel)
	for _, way := range []struct {
		from *bufio.Reader
		to   io.Writer
	}{{asked, channel}, {back, front}} {
		hello, err := clienttest.Message(way.from)
		if err != nil {
			return
		}
		send(way.to, strings.ReplaceAll(hello, chunks, ""))
	}
	var lost atomic.Bool
	go func() {
		defer hangUp()
		r.requests(asked, front, channel, &lost)
	}()
	for {
		reply, err := clienttest.Message(back)
		if err != nil || lost.Load() {
			return
		}
		send(front, reply)
	}
}

// requests passes requests on until the client has gone. The next reply is lost when
// lost is set.
func (r *relay) requests(asked *bufio.Reader, front, server io.Writer, lost *atomic.Bool) {
	for sent := 0; ; {
		request, err := begun(asked, server, &sent)
		if err != nil {
			return
		}
		trouble := r.take(request)
		switch trouble {
		case "<edit-config>":
			_, id, _ := strings.Cut(request, `message-id="`)
			id, _, _ = strings.Cut(id, `"`)
			send(front, `<rpc-reply xmlns="`+client.Namespace+`" message-id="`+id+`"><rpc-error><error-tag>resource-denied</error-tag>`+
				`<error-severity>error</error-severity><error-message>out of memory</error-message></rpc-error></rpc-reply>`)
			continue
		case "<confirmed/>":
			_, _ = io.Copy(io.Discard, asked) // until the other side gives up
			return
		}
		lost.Store(trouble == "<commit/>")
		send(server, request[sent:])
		sent = 0
	}
}

// begun reads a request. What is sent ahead of it is passed on at once, since the
// server may be waiting for that: sent is how much of it the server has.
func begun(asked *bufio.Reader, server io.Writer, sent *int) (string, error) {
	var opening []byte
	for len(opening) < len(requestOpening) {
		b, err := asked.ReadByte()
		if err != nil {
			return "", err
		}
		opening = append(opening, b)
		if asked.Buffered() == 0 && len(opening) > *sent {
			_, _ = server.Write(opening[*sent:])
			*sent = len(opening)
		}
	}
	rest, err := clienttest.Message(asked)
	return string(opening) + rest, err
}

// requestOpening is how every request of the client begins.
const requestOpening = `<?xml version="1.0" encoding="UTF-8"?>`

func send(w io.Writer, message string) { _, _ = io.WriteString(w, message+"]]>]]>") }

// prefixes numbers the devices of a test that share a server.
func prefixes() func() string {
	n := 0
	return func() string {
		n++
		return "d" + strconv.Itoa(n) + "-"
	}
}

// always and never are lifetimes as an operator would write them.
func netconfKey(id int, send, accept bool) string {
	span := map[bool]string{true: "<always/>", false: "<start-date-time>2001-01-01T00:00:00Z</start-date-time><end-date-time>2001-01-02T00:00:00Z</end-date-time>"}
	return fmt.Sprintf("<key><key-id>%d</key-id><lifetime><send-lifetime>%s</send-lifetime><accept-lifetime>%s</accept-lifetime></lifetime>"+
		"<crypto-algorithm>hmac-sha-256</crypto-algorithm><key-string><keystring>by-hand</keystring></key-string></key>", id, span[send], span[accept])
}
