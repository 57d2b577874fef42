package agents

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/upstream"
)

// Node is one node to serve, with the two sides of its device. A side that the
// node does not have is nil.
type Node struct {
	ID keychain.NodeID
	// Kind is the kind of its device, for metrics alone.
	Kind       string
	Upstream   upstream.Device
	Downstream downstream.Device
}

// same reports whether n and o are one node with one device. A device whose type
// cannot be compared is never the same.
func (n Node) same(o Node) bool {
	return n.ID == o.ID && n.Kind == o.Kind && sameDevice(n.Upstream, o.Upstream) && sameDevice(n.Downstream, o.Downstream)
}

func sameDevice(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// Store is what an agent needs of package store.
type Store interface {
	// Serve waits until this agent alone may act on node, or until ctx ends.
	Serve(ctx context.Context, site keychain.SiteID, node keychain.NodeID, who store.Agent) (Tenure, error)
	// WatchOrders calls f with all orders of node, then with every change, until
	// ctx ends.
	WatchOrders(ctx context.Context, site keychain.SiteID, node keychain.NodeID, f func(store.OrderUpdate)) error
	// WatchInquiries calls f with what a recovery asks of node, until ctx ends.
	WatchInquiries(ctx context.Context, site keychain.SiteID, node keychain.NodeID, f func([]store.Inquiry)) error
}

// Tenure is the sole right to act on a node, as store.Tenure has it.
type Tenure interface {
	Done() <-chan struct{}
	Close(ctx context.Context) error
	Report(ctx context.Context, obs ...store.Observation) error
	Observations(ctx context.Context) ([]store.Observation, error)
	Testify(ctx context.Context, said []store.Testimony) error
}

// Unwrapper opens wrapped keys, as custody.Custody does.
type Unwrapper interface {
	Unwrap(ctx context.Context, link keychain.LinkID, epoch keychain.Epoch, w keychain.Wrapped) (secret.Key, error)
}

// EtcdStore is s as agents see it.
func EtcdStore(s *store.Store) Store { return etcdStore{s} }

type etcdStore struct{ *store.Store }

func (e etcdStore) Serve(ctx context.Context, site keychain.SiteID, node keychain.NodeID, who store.Agent) (Tenure, error) {
	t, err := e.Store.Serve(ctx, site, node, who)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Config is what Run serves, and with what. Durations and counts that are zero
// take the value named beside them.
type Config struct {
	Site keychain.SiteID
	// Nodes gives the whole list of nodes to serve, and again the whole list when
	// it changes. A node that a list leaves out is given up; one whose device is
	// another than before is begun anew.
	Nodes   <-chan []Node
	Store   Store
	Custody Unwrapper
	Journal *Journal
	// Who is shown to operators. Its Instance is the journal's when empty.
	Who store.Agent
	// PerNode is how many links of one node are worked on at once: 8.
	PerNode int
	// Parallel bounds what is worked on at once over all nodes, beyond one link for
	// each node: 64. The one link is why a node that hangs cannot block another.
	Parallel int
	// Resync is how often an order that could not be obeyed for good, or that has a
	// counter-bound device send, is compared with its device again: 10 s. Idle is how
	// often any other is that is obeyed: three times that. A device that is found to differ on
	// one link is looked at on all of them at once.
	Resync, Idle time.Duration
	// MaxBackoff is the longest wait before another try: 30 s. The first is 0.2 s.
	MaxBackoff time.Duration
	// Slow is how long an order may be worked on before that is reported as
	// trouble: 10 s. Limit is when it is given up: 5 min.
	Slow, Limit time.Duration
	// Grace is how long work under way may go on after ctx has ended: 10 s.
	Grace time.Duration
	// Counting is how often a device that counts packets is looked at while it is
	// to accept two keys, so that whoever waits for the old one to fall silent sees
	// it: 1 s.
	Counting time.Duration
	// Observe is told what happens, for metrics.
	Observe Observer
	// Pulse shows how the agent does; nil: nobody asks.
	Pulse  *Pulse
	Logger *slog.Logger // nil: none
}

const firstBackoff = 200 * time.Millisecond

// checked is cfg with its defaults, or Invalid.
func (cfg Config) checked() (Config, error) {
	if err := keychain.ValidName(string(cfg.Site)); err != nil {
		return cfg, fault.Wrap(fault.Invalid, err, "serve site %s", cfg.Site)
	}
	if cfg.Nodes == nil || cfg.Store == nil || cfg.Custody == nil || cfg.Journal == nil {
		return cfg, fault.New(fault.Invalid, "serve site %s: nodes, store, custody and journal are needed", cfg.Site)
	}
	if cfg.Who.Instance == "" {
		cfg.Who.Instance = cfg.Journal.Instance()
	}
	orElse(&cfg.PerNode, 8)
	orElse(&cfg.Parallel, 64)
	orElse(&cfg.Resync, 10*time.Second)
	orElse(&cfg.Idle, 3*cfg.Resync)
	orElse(&cfg.MaxBackoff, 30*time.Second)
	orElse(&cfg.Slow, 10*time.Second)
	orElse(&cfg.Limit, 5*time.Minute)
	orElse(&cfg.Grace, 10*time.Second)
	orElse(&cfg.Counting, time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

// orElse fills in a value that is not above zero.
func orElse[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}
