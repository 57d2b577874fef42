package store

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

const (
	// callTimeout bounds one exchange with etcd, so that a partition shows.
	callTimeout = 5 * time.Second
	// An unanswered ping after these two ends the connection, and with it every
	// watch that would otherwise wait for a dead peer. etcd refuses pings that
	// come more often than every 5 s.
	pingEvery   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// reconnect is the longest pause between attempts to connect. The transport's
	// own default of two minutes would keep agents away long after etcd is back.
	reconnect = 3 * time.Second
	// page is how many keys one range request brings.
	page = 1000
	// transactions is how many transactions of one call run at a time.
	transactions = 8
)

// Store is a connection to etcd. All its methods are safe for concurrent use.
// Unless they say otherwise they fail with Unavailable when etcd does not
// answer and with Refused when it denies the permission.
type Store struct {
	client *clientv3.Client
	keys   layout
	config Config
	// wallet has the certificate, and last how the last connection was made; nil
	// without TLS.
	wallet *identity.Wallet
	last   *verdict
	// life ends with Close.
	life context.Context
	end  context.CancelFunc
	// leasing holds the right to look at lease.
	leasing chan struct{}
	doubts  doubt
	streams atomic.Int64 // how many of its own a view has opened
	lease   *lease
}

// Open connects to etcd and makes sure that it answers. It fails with Invalid for a
// Config that cannot work, Unavailable, naming the addresses, when etcd does not answer
// in time, and Refused when a certificate cannot be used, when etcd refuses that of the
// client, and when it does not know its user.
func Open(ctx context.Context, c Config) (*Store, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	s := &Store{keys: layout{c.Prefix}, config: c, leasing: make(chan struct{}, 1)}
	if !c.Plain {
		if s.wallet, err = c.Files.Open("etcd"); err != nil {
			return nil, err
		}
		s.last = &verdict{}
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if s.client, err = clientv3.New(s.clientConfig()); err != nil {
		s.end()
		return nil, fault.Wrap(fault.Invalid, err, "open etcd at %s", strings.Join(c.Endpoints, ", "))
	}
	if err := s.answers(ctx); err != nil {
		_ = s.Close() // the connection never worked
		return nil, err
	}
	go s.noticeReconnections()
	return s, nil
}

func (s *Store) clientConfig() clientv3.Config {
	options := []grpc.DialOption{grpc.WithConnectParams(patient())}
	if s.wallet != nil {
		options = append(options, grpc.WithTransportCredentials(transport{credentials.NewTLS(nil), s.wallet, s.last}))
	}
	return clientv3.Config{
		Context:              s.life,
		Endpoints:            s.config.Endpoints,
		DialTimeout:          s.config.DialTimeout,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: pingTimeout,
		DialOptions:          options,
		// A client made by hand has a logger that says nothing: what goes wrong is
		// told by errors.
		Logger: clientv3.NewCtxClient(s.life).GetLogger(),
	}
}

// patient is how the transport connects again.
func patient() grpc.ConnectParams {
	b := grpcbackoff.DefaultConfig
	b.BaseDelay, b.MaxDelay = 100*time.Millisecond, reconnect
	return grpc.ConnectParams{Backoff: b, MinConnectTimeout: callTimeout}
}

// answers waits for a read that a majority agrees to. Being denied the key is an
// answer too, since an agent may not read it, unless etcd does not know who asks.
func (s *Store) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.DialTimeout)
	defer cancel()
	wait := backoff{}
	for {
		_, err := s.ask(ctx)
		if denied(err) {
			return fault.Wrap(fault.Refused, s.known(ctx), "open etcd at %s", strings.Join(s.config.Endpoints, ", "))
		}
		if err == nil {
			return nil
		}
		err = s.failed(ctx, err, "reach etcd at %s", strings.Join(s.config.Endpoints, ", "))
		if errors.As(err, new(handshake)) {
			return fault.Wrap(fault.Refused, err, "")
		}
		if !fault.Of(err).Retryable() || !wait.sleep(ctx) {
			return err
		}
	}
}

// otherEndpoints is how long those of an etcd that can be used have, when the
// certificate of one, or ours with it, was no good.
const otherEndpoints = time.Second

// ask reads one key, and does not wait for a connection for longer than it takes to
// see that certificates are in the way.
func (s *Store) ask(ctx context.Context) (*clientv3.GetResponse, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		tick := time.NewTicker(otherEndpoints)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if s.unsafe() != nil {
					stop()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return s.get(ctx, s.keys.topologyRevision())
}

// Version is that of the etcd behind the first of the endpoints, such as 3.7.3.
func (s *Store) Version(ctx context.Context) (string, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	status, err := s.client.Status(call, s.config.Endpoints[0])
	if err != nil {
		return "", s.failed(ctx, err, "ask etcd for its version")
	}
	return status.Version, nil
}

// Close ends the connection. Tenures that were not closed before stay in etcd
// until their lease runs out, as after a crash.
func (s *Store) Close() error {
	s.end()
	if err := s.client.Close(); err != nil && s.life.Err() == nil {
		return fault.Wrap(fault.Unavailable, err, "close the connection to etcd")
	}
	return nil
}

// entry is one key as it stands in etcd.
type entry struct {
	key   string
	value []byte
	// mod is the revision at which it was last written; zero if it does not exist.
	mod int64
}

// list reads a span as it was at one revision, in the order of the keys.
func (s *Store) list(ctx context.Context, sp span) ([]entry, int64, error) {
	var entries []entry
	var rev int64
	for from := sp.from; ; {
		opts := []clientv3.OpOption{clientv3.WithRange(sp.to), clientv3.WithLimit(page), clientv3.WithRev(rev)}
		resp, err := s.get(ctx, from, opts...)
		if err != nil {
			return nil, 0, s.failed(ctx, err, "read %s from etcd", sp.from)
		}
		if rev == 0 {
			rev = resp.Header.GetRevision()
		}
		for _, kv := range resp.Kvs {
			entries = append(entries, entry{key: string(kv.Key), value: kv.Value, mod: kv.ModRevision})
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return entries, rev, nil
		}
		from = entries[len(entries)-1].key + "\x00"
	}
}

// read gives the keys that exist, by key. It is linearizable, and what one
// transaction can carry is of one revision.
func (s *Store) read(ctx context.Context, keys []string) (map[string]entry, error) {
	found := make(map[string]entry, len(keys))
	for len(keys) > 0 {
		n := min(len(keys), maxOps)
		gets := make([]clientv3.Op, n)
		for i, k := range keys[:n] {
			gets[i] = clientv3.OpGet(k)
		}
		resp, err := s.gets(ctx, gets)
		if err != nil {
			return nil, s.failed(ctx, err, "read %d keys from etcd, from %s on", n, keys[0])
		}
		for _, r := range resp.Responses {
			for _, kv := range r.GetResponseRange().GetKvs() {
				found[string(kv.Key)] = entry{key: string(kv.Key), value: kv.Value, mod: kv.ModRevision}
			}
		}
		keys = keys[n:]
	}
	return found, nil
}

// get and gets are one exchange each; their errors are etcd's own.
func (s *Store) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	resp, err := current(call, func() (*clientv3.GetResponse, error) { return s.client.Get(call, key, opts...) })
	s.observe(ctx, OpGet, began, err)
	return resp, err
}

func (s *Store) gets(ctx context.Context, gets []clientv3.Op) (*clientv3.TxnResponse, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	resp, err := current(call, func() (*clientv3.TxnResponse, error) { return s.client.Txn(call).Then(gets...).Commit() })
	s.observe(ctx, OpGet, began, err)
	return resp, err
}

// observe tells of one exchange that began then and ended with etcd's err. Nothing
// is known of one that its caller cancelled.
func (s *Store) observe(ctx context.Context, op string, began time.Time, err error) {
	if s.config.Observe != nil && (err == nil || !errors.Is(ctx.Err(), context.Canceled)) {
		s.config.Observe(op, time.Since(began), s.classified(ctx, err, "%s in etcd", op))
	}
}
