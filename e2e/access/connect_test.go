package access_test

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
	"github.com/keyorch/keyorch/store"
)

const agentDC2 = "keyorch-agent.dc2"

// opening wants Open refused soon, with words.
func (w *world) opening(what string, c store.Config, kind fault.Kind, words ...string) {
	w.t.Helper()
	began := time.Now()
	s, err := store.Open(w.ctx, c)
	if err == nil {
		_ = s.Close()
	}
	if !fault.Is(err, kind) {
		w.t.Errorf("%s: %v (%v), want %v", what, err, fault.Of(err), kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.t.Errorf("%s: %v, want %q in it", what, err, word)
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		w.t.Errorf("%s: it took %v to say so", what, took)
	}
	w.t.Logf("%s: %v", what, err)
}

func TestDeniedPlaintext(t *testing.T) {
	w := prepared(t, everybody()...)
	plain := strings.TrimPrefix(w.endpoint, "https://")
	w.opening("keyorch itself refuses", store.Config{Endpoints: []string{"http://" + plain}, Files: w.authority.Issue(t, agentDC2)}, fault.Invalid, "not encrypted")
	_, err := store.Open(w.ctx, store.Config{Endpoints: []string{plain}, Plain: true, DialTimeout: time.Second})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("etcd answers in the clear: %v", err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + plain}, DialTimeout: time.Second, Logger: clientv3.NewCtxClient(w.ctx).GetLogger()})
	must(t, err)
	defer func() { _ = c.Close() }()
	conn, err := net.Dial("tcp", plain)
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	must(t, err)
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	answer := make([]byte, 100)
	n, _ := conn.Read(answer)
	if strings.Contains(string(answer[:n]), "HTTP/2") {
		t.Errorf("etcd answers %q in the clear", answer[:n])
	}
}

func TestDeniedClientWithoutCertificate(t *testing.T) {
	w := prepared(t, everybody()...)
	files := w.authority.Issue(t, agentDC2)
	w.opening("keyorch itself refuses", store.Config{Endpoints: []string{w.endpoint}, Files: identity.Files{CA: files.CA}}, fault.Invalid, "ETCDCTL_CERT")
	wallet, err := files.Open("etcd")
	must(t, err)
	bare := wallet.Dial("127.0.0.1")
	bare.GetClientCertificate = nil
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{w.endpoint}, TLS: bare, DialTimeout: time.Second, Logger: clientv3.NewCtxClient(w.ctx).GetLogger()})
	must(t, err)
	defer func() { _ = c.Close() }()
	short, cancel := contextFor(w, time.Second)
	defer cancel()
	if _, err := c.Get(short, prefix+"/orders/dc2/x"); err == nil {
		t.Error("etcd answers somebody without a certificate")
	}
}

func TestDeniedForeignCertificate(t *testing.T) {
	w := prepared(t, everybody()...)
	foreign := identitytest.NewAuthority(t).Issue(t, agentDC2)
	ours := w.authority.Issue(t, agentDC2)
	w.opening("a client of another authority", w.config(identity.Files{CA: ours.CA, Cert: foreign.Cert, Key: foreign.Key}), fault.Refused,
		"etcd refuses the client certificate of keyorch-agent.dc2", "--trusted-ca-file")
}

func TestDeniedExpiredCertificate(t *testing.T) {
	w := prepared(t, everybody()...)
	past := identitytest.Life(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	expired := w.authority.Issue(t, agentDC2, past)
	w.opening("keyorch itself refuses", w.config(expired), fault.Refused, "expired at")
	// etcd does as well: one that expires after it was read.
	soon := w.authority.Issue(t, agentDC2, identitytest.Life(time.Now().Add(-time.Hour), time.Now().Add(2*time.Second)))
	wallet, err := soon.Open("etcd")
	must(t, err)
	until(t, "it expires", func() bool { return wallet.Current().Leaf.NotAfter.Before(time.Now()) })
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{w.endpoint}, TLS: wallet.Dial("127.0.0.1"), DialTimeout: time.Second, Logger: clientv3.NewCtxClient(w.ctx).GetLogger()})
	must(t, err)
	defer func() { _ = c.Close() }()
	short, cancel := contextFor(w, time.Second)
	defer cancel()
	if _, err := c.Get(short, prefix+"/orders/dc2/x"); err == nil {
		t.Error("etcd takes an expired certificate")
	}
}

func TestDeniedCertificateOfAnOldGeneration(t *testing.T) {
	w := prepared(t, everybody()...)
	old := w.authority.Issue(t, agentDC2)
	revoke(w, agentDC2)
	_, err := w.open("root").Admit(w.ctx, who(t, "keyorch-agent-2.dc2"))
	must(t, err)
	w.opening("the certificate of before", w.config(old), fault.Refused, "etcd has no user keyorch-agent.dc2", "keyorch enroll")
	w.open("keyorch-agent-2.dc2")
}

func TestDeniedNeverEnrolled(t *testing.T) {
	w := prepared(t, everybody()...)
	w.opening("an agent", w.config(w.authority.Issue(t, "keyorch-agent.dc9")), fault.Refused, "etcd has no user keyorch-agent.dc9")
	w.opening("a stranger", w.config(w.authority.Issue(t, "example.com")), fault.Invalid, "not a name of keyorch's")
}

// A client is not led to a server that only looks like etcd.
func TestDeniedFalseServer(t *testing.T) {
	w := prepared(t, everybody()...)
	other := start(t, true)
	w.opening("an etcd of another authority", other.config(w.authority.Issue(t, agentDC2)), fault.Refused, "an authority that is not in ")
	named := w.config(w.authority.Issue(t, agentDC2))
	named.Endpoints = []string{strings.Replace(w.endpoint, "127.0.0.1", "127.0.0.2", 1)}
	if l, err := net.Listen("tcp", strings.TrimPrefix(named.Endpoints[0], "https://")); err == nil {
		go relay(l, strings.TrimPrefix(w.endpoint, "https://"))
		defer func() { _ = l.Close() }()
		w.opening("under another address", named, fault.Refused, "not for this address")
	}
}

// relay passes bytes on.
func relay(l net.Listener, to string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close()
			return
		}
		go func() { defer in.Close(); defer out.Close(); _, _ = io.Copy(out, in) }()
		go func() { defer in.Close(); defer out.Close(); _, _ = io.Copy(in, out) }()
	}
}

// Files that become somebody else's do not make the connection somebody else's: etcd goes by
// the certificate that it was shown, and lets that one alone write into its inbox.
func TestTheInboxIsThatOfTheConnection(t *testing.T) {
	w := prepared(t, agentDC2, "keyorch-agent.dc9")
	files, others := w.authority.Issue(t, agentDC2), w.authority.Issue(t, "keyorch-agent.dc9")
	s, err := store.Open(w.ctx, w.config(files))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	for from, to := range map[string]string{others.Cert: files.Cert, others.Key: files.Key} {
		is, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(to, is, 0o600))
	}
	must(t, s.Append(w.ctx, audit.Record{Kind: audit.Repair, Verb: "test"}))
	if s.User() != agentDC2 {
		t.Errorf("etcd knows %s, and not %s", agentDC2, s.User())
	}
}
