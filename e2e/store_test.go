package e2e_test

import (
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/keyorch/keyorch/store/storetest"
)

func TestStore(t *testing.T) { storetest.Run(t, startEtcd(t)) }

func BenchmarkStoreCommit(b *testing.B) { storetest.Bench(b, startEtcd(b)) }

// startEtcd starts one etcd with its data in a directory of the test.
func startEtcd(tb testing.TB) storetest.Server {
	tb.Helper()
	addr, peer, dir := freeAddr(tb), freeAddr(tb), filepath.Join(tb.TempDir(), "etcd")
	start := func() *embed.Etcd {
		c := embed.NewConfig()
		c.Dir, c.LogLevel, c.LogOutputs = dir, "panic", []string{"/dev/null"}
		client, peers := url.URL{Scheme: "http", Host: addr}, url.URL{Scheme: "http", Host: peer}
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
		c.InitialCluster = c.InitialClusterFromName(c.Name)
		server, err := embed.StartEtcd(c)
		if err != nil {
			tb.Fatal(err)
		}
		select {
		case <-server.Server.ReadyNotify():
		case err := <-server.Err():
			tb.Fatal(err)
		case <-time.After(time.Minute):
			tb.Fatal("etcd is not ready after a minute")
		}
		return server
	}
	server := start()
	tb.Cleanup(func() { server.Close() })
	return storetest.Server{
		Endpoint: addr,
		Data:     dir,
		Restart: func(meanwhile func()) {
			server.Close()
			meanwhile()
			server = start()
		},
	}
}

// freeAddr is an address of this machine on which nothing listens.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
