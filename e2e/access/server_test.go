package access_test

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
	"github.com/keyorch/keyorch/store"
)

const (
	patience = 30 * time.Second
	prefix   = store.DefaultPrefix
)

// world is an etcd with an authority of its own.
type world struct {
	t            *testing.T
	ctx          context.Context
	authority    *identitytest.Authority
	endpoint     string
	serverConfig *embed.Config
	server       *embed.Etcd
}

// start runs an etcd that nobody has prepared yet. It takes users from certificates,
// unless named is false.
func start(t *testing.T, named bool) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, authority: identitytest.NewAuthority(t), serverConfig: embed.NewConfig()}
	files := w.authority.Issue(t, "etcd", identitytest.Server("127.0.0.1", "localhost"))
	addr, peer := freeAddr(t), freeAddr(t)
	w.endpoint = "https://" + addr
	c := w.serverConfig
	c.Dir, c.LogLevel, c.LogOutputs = filepath.Join(t.TempDir(), "etcd"), "panic", []string{"/dev/null"}
	c.TickMs, c.ElectionMs, c.UnsafeNoFsync, c.EnableGRPCGateway = 10, 100, true, false
	client, peers := url.URL{Scheme: "https", Host: addr}, url.URL{Scheme: "http", Host: peer}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ClientTLSInfo = transport.TLSInfo{CertFile: files.Cert, KeyFile: files.Key, TrustedCAFile: files.CA, ClientCertAuth: named}
	w.run()
	t.Cleanup(func() { w.server.Close() })
	return w
}

func (w *world) run() {
	w.t.Helper()
	server, err := embed.StartEtcd(w.serverConfig)
	must(w.t, err)
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		w.t.Fatal(err)
	case <-w.ctx.Done():
		w.t.Fatal("etcd is not ready")
	}
	w.server = server
}

func (w *world) restart() {
	w.t.Helper()
	w.server.Close()
	w.run()
}

// prepared is an etcd after bootstrap and the enrolment of these identities.
func prepared(t *testing.T, names ...string) *world {
	t.Helper()
	w := start(t, true)
	root := w.open("root")
	if _, err := root.PrepareAccess(w.ctx, nil, false); err != nil {
		t.Fatal(err)
	}
	for _, cn := range names {
		if _, err := root.Admit(w.ctx, who(t, cn)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func who(t *testing.T, cn string) identity.Identity {
	t.Helper()
	i, err := identity.ParseCommonName(cn)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (w *world) config(files identity.Files) store.Config {
	return store.Config{Endpoints: []string{w.endpoint}, Files: files, DialTimeout: 5 * time.Second, LeaseTTL: 2 * time.Second}
}

// open gives a store with a new certificate.
func (w *world) open(cn string, options ...identitytest.Option) *store.Store {
	w.t.Helper()
	s, err := store.Open(w.ctx, w.config(w.authority.Issue(w.t, cn, options...)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

// raw gives etcd's own client with a new certificate: what an attacker uses who has
// somebody's key.
func (w *world) raw(cn string) *clientv3.Client {
	w.t.Helper()
	wallet, err := w.authority.Issue(w.t, cn).Open("etcd")
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{w.endpoint}, TLS: wallet.Dial("127.0.0.1"), DialTimeout: 5 * time.Second,
		Logger: clientv3.NewCtxClient(w.ctx).GetLogger(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// freeAddr is an address of this machine on which nothing listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for cond, which is asked again whenever it was false.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func contextFor(w *world, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.ctx, d)
}
