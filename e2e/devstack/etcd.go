package devstack

import (
	"context"
	"net/url"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/keyorch/keyorch/fault"
)

// startEtcd runs a one-member etcd that syncs every write to disk, as in
// production: the tests that kill processes depend on it. Before, unless nil, sees every
// request first.
func startEtcd(ctx context.Context, dir string, ports Ports, certs serverCerts, log *os.File, before grpc.UnaryServerInterceptor) (*embed.Etcd, error) {
	cfg := embed.NewConfig()
	client := url.URL{Scheme: "http", Host: address(ports.Etcd)}
	pages := url.URL{Scheme: "http", Host: address(ports.EtcdHTTP)}
	peer := url.URL{Scheme: "http", Host: address(ports.EtcdPeer)}
	if !certs.plain() {
		client.Scheme, pages.Scheme, peer.Scheme = "https", "https", "https"
		mutual := transport.TLSInfo{CertFile: certs.cert, KeyFile: certs.key, TrustedCAFile: certs.ca, ClientCertAuth: true}
		cfg.ClientTLSInfo, cfg.PeerTLSInfo = mutual, mutual
	}
	cfg.Name = "dev"
	cfg.Dir = filepath.Join(dir, "etcd")
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	// Health and metrics have a port of their own. On a port that has both, TLS puts
	// every request through Go's HTTP server: a rotation then took half as much
	// processor time again, and one busy stream held others up (etcd's --listen-client-http-urls).
	cfg.ListenClientHttpUrls = []url.URL{pages}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// The member waits for one election before it leads: nobody else is there.
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.EnableGRPCGateway = false
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	if before != nil {
		cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainUnaryInterceptor(before)}
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(log))

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "start etcd on %s", client.Host)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err = <-e.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.Close()
	return nil, fault.Wrap(fault.Unavailable, err, "start etcd on %s", client.Host)
}
