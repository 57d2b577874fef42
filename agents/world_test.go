package agents

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/store"
)

const theSite = keychain.SiteID("dc2")

// world is everything around an agent: a store, a Vault and the logs, with state.
type world struct {
	t *testing.T

	mu       sync.Mutex
	moved    chan struct{} // closed and replaced whenever anything changes
	orders   map[keychain.NodeID]map[keychain.LinkID]store.Order
	obs      map[keychain.NodeID]map[keychain.LinkID]store.Observation
	holder   map[keychain.NodeID]*tenure
	etcdAway bool
	// inquiries are what a recovery asks, said what was answered.
	inquiries map[keychain.NodeID][]store.Inquiry
	said      []store.Testimony
	reports   int // transactions
	trail     []audit.Record
	onRecord  func(audit.Record) // looks at each as it is written, under mu

	vaultAway bool
	vaultSays error             // to every request; nil: it opens keys
	keys      map[string][]byte // by ciphertext
	opened    []secret.Key      // every key that was given out
	openedAs  []generation      // what each of them is
	unwraps   int

	last    *agent // started last
	observe Observer
	logs    bytes.Buffer
	// effect is asked before and after everything that an agent does to the world;
	// an error says that the agent is dead, so that it does not happen or nobody
	// hears of it.
	effect func(what string, after bool) error
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, moved: make(chan struct{}), keys: make(map[string][]byte),
		orders: make(map[keychain.NodeID]map[keychain.LinkID]store.Order),
		obs:    make(map[keychain.NodeID]map[keychain.LinkID]store.Observation),
		holder: make(map[keychain.NodeID]*tenure), inquiries: make(map[keychain.NodeID][]store.Inquiry),
	}
}

// change lets f change the world, and tells everybody.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.moved)
	w.moved = make(chan struct{})
}

// do is an effect of an agent.
func (w *world) do(what string, f func() error) (err error) {
	hit := func(after bool) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.effect == nil {
			return nil
		}
		return w.effect(what, after)
	}
	if err := hit(false); err != nil {
		return err
	}
	w.change(func() { err = f() })
	if dead := hit(true); dead != nil {
		return dead
	}
	return err
}

// until waits for a condition of the world.
func (w *world) until(ctx context.Context, cond func() bool) bool {
	for {
		w.mu.Lock()
		ok, moved := cond(), w.moved
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}

// mint makes the wrapped key of link under epoch: the same each time.
func (w *world) mint(link keychain.LinkID, epoch keychain.Epoch) keychain.Wrapped {
	name := fmt.Sprintf("vault:v1:%s/%d", link, epoch)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys[name] == nil {
		key := make([]byte, secret.Size)
		_, _ = rand.Read(key)
		w.keys[name] = key
	}
	return keychain.Wrapped{KEK: "keyorch-site-dc2", Ciphertext: name}
}

// want is a key as an order names it.
func (w *world) want(link keychain.LinkID, epoch keychain.Epoch) store.Wanted {
	if epoch == 0 {
		return store.Wanted{}
	}
	return store.Wanted{Ref: keychain.Ref{Epoch: epoch}, Serial: keychain.Serial(epoch), Wrapped: w.mint(link, epoch)}
}

func (w *world) wants(link keychain.LinkID, epochs ...keychain.Epoch) (wants []store.Wanted) {
	for _, e := range epochs {
		wants = append(wants, w.want(link, e))
	}
	return wants
}

// order gives orders.
func (w *world) order(orders ...store.Order) {
	w.change(func() {
		for _, o := range orders {
			o.Site = theSite
			if w.orders[o.Node] == nil {
				w.orders[o.Node] = make(map[keychain.LinkID]store.Order)
			}
			w.orders[o.Node][o.Link] = o
		}
	})
}

func (w *world) report(node keychain.NodeID, link keychain.LinkID) store.Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.obs[node][link]
}

// count reads one of the world's counts.
func (w *world) count(n *int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *n
}

// reported waits until node's report about link is as ok wants it.
func (w *world) reported(node keychain.NodeID, link keychain.LinkID, ok func(store.Observation) bool) store.Observation {
	w.t.Helper()
	if !w.until(w.t.Context(), func() bool { return ok(w.obs[node][link]) }) {
		w.t.Fatalf("%s on %s: last reported %+v", node, link, w.report(node, link))
	}
	return w.report(node, link)
}

// Unwrap is Vault's part.
func (w *world) Unwrap(ctx context.Context, link keychain.LinkID, epoch keychain.Epoch, wrapped keychain.Wrapped) (secret.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unwraps++
	if w.vaultAway {
		return secret.Key{}, fault.New(fault.Unavailable, "reach vault at http://vault:8200")
	}
	if w.vaultSays != nil {
		return secret.Key{}, w.vaultSays
	}
	key := w.keys[wrapped.Ciphertext]
	if key == nil || wrapped.Ciphertext != fmt.Sprintf("vault:v1:%s/%d", link, epoch) {
		return secret.Key{}, fault.New(fault.Mismatch, "open epoch %d of %s", epoch, link)
	}
	k := secret.New(bytes.Clone(key))
	w.opened, w.openedAs = append(w.opened, k), append(w.openedAs, generation{link, epoch})
	return k, nil
}

// tenure is the fake of store.Tenure.
type tenure struct {
	w    *world
	node keychain.NodeID
	who  store.Agent
	done chan struct{}
}

var errAway = fault.New(fault.Unavailable, "reach etcd at http://etcd:2379")

// Serve is the store's part: one agent at a time has a node, and the same
// instance takes over.
func (w *world) Serve(ctx context.Context, _ keychain.SiteID, node keychain.NodeID, who store.Agent) (Tenure, error) {
	for {
		t := &tenure{w: w, node: node, who: who, done: make(chan struct{})}
		taken := false
		err := w.do("serve", func() error {
			h := w.holder[node]
			if w.etcdAway || h != nil && h.who.Instance != who.Instance {
				return nil
			}
			if h != nil {
				close(h.done)
			}
			w.holder[node], taken = t, true
			return nil
		})
		if err != nil || taken {
			return t, err
		}
		if !w.until(ctx, func() bool { return !w.etcdAway && w.holder[node] == nil }) {
			return nil, ctx.Err()
		}
	}
}

// expire takes the node from whoever has it.
func (w *world) expire(node keychain.NodeID) {
	w.change(func() {
		if h := w.holder[node]; h != nil {
			close(h.done)
			delete(w.holder, node)
		}
	})
}

// WatchOrders is the store's part: it always tells the whole state.
func (w *world) WatchOrders(ctx context.Context, _ keychain.SiteID, node keychain.NodeID, f func(store.OrderUpdate)) error {
	var told []store.Order
	var broken bool
	for first := true; ; first = false {
		var now []store.Order
		changed := func() bool {
			now = slices.Collect(maps.Values(w.orders[node]))
			slices.SortFunc(now, func(a, b store.Order) int { return bytes.Compare([]byte(a.Link), []byte(b.Link)) })
			return !w.etcdAway && (first || broken || !slices.EqualFunc(now, told, equalOrder))
		}
		if !w.until(ctx, changed) {
			return ctx.Err()
		}
		told, broken = now, false
		f(store.OrderUpdate{Snapshot: true, Orders: slices.Clone(now)})
	}
}

func equalOrder(a, b store.Order) bool { return a.Link == b.Link && equal(a, b) }

func (t *tenure) Done() <-chan struct{} { return t.done }

// WatchInquiries is the store's part: what a recovery asks, once.
func (w *world) WatchInquiries(ctx context.Context, _ keychain.SiteID, node keychain.NodeID, f func([]store.Inquiry)) error {
	for {
		var asked []store.Inquiry
		if !w.until(ctx, func() bool { asked = w.inquiries[node]; return !w.etcdAway && len(asked) > 0 }) {
			return ctx.Err()
		}
		w.change(func() { delete(w.inquiries, node) })
		f(asked)
	}
}

func (t *tenure) Testify(_ context.Context, said []store.Testimony) error {
	return t.w.do("testify", func() error {
		if t.w.etcdAway {
			return errAway
		}
		t.w.said = append(t.w.said, said...)
		return nil
	})
}

func (t *tenure) Close(context.Context) error {
	return t.w.do("close", func() error {
		if t.w.holder[t.node] == t {
			close(t.done)
			delete(t.w.holder, t.node)
		}
		return nil
	})
}

func (t *tenure) Observations(context.Context) (obs []store.Observation, err error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.w.etcdAway {
		return nil, errAway
	}
	return slices.Collect(maps.Values(t.w.obs[t.node])), nil
}

func (t *tenure) Report(_ context.Context, obs ...store.Observation) error {
	return t.w.do("report", func() error {
		switch {
		case t.w.etcdAway:
			return errAway
		case t.w.holder[t.node] != t:
			return fault.New(fault.Stale, "report on %s", t.node)
		}
		t.w.reports++
		if t.w.obs[t.node] == nil {
			t.w.obs[t.node] = make(map[keychain.LinkID]store.Observation)
		}
		for _, o := range obs {
			if before := t.w.obs[t.node][o.Link]; o.Turn < before.Turn {
				t.w.t.Errorf("reported turn %d over turn %d", o.Turn, before.Turn)
			}
			for _, r := range o.Records {
				t.w.trail = append(t.w.trail, r)
				if t.w.onRecord != nil {
					t.w.onRecord(r)
				}
			}
			o.Records = nil
			t.w.obs[t.node][o.Link] = o
		}
		return nil
	})
}

// agent is one running agent process.
type agent struct {
	journal *Journal
	pulse   *Pulse
	nodes   chan []Node
	stop    func() // SIGTERM, and waits
	ended   chan struct{}
}

// journalAt opens the journal of a state directory.
func (w *world) journalAt(dir string) *Journal {
	w.t.Helper()
	j, err := OpenJournal(filepath.Join(dir, "journal.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// start runs an agent with a state directory.
func (w *world) start(dir string, nodes ...Node) *agent {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	a := &agent{journal: w.journalAt(dir), pulse: &Pulse{}, nodes: make(chan []Node, 1), ended: make(chan struct{})}
	a.nodes <- nodes
	w.change(func() { w.last = a })
	go func() {
		defer close(a.ended)
		err := Run(ctx, Config{
			Site: theSite, Nodes: a.nodes, Store: w, Custody: w, Journal: a.journal, Observe: w.observe, Pulse: a.pulse,
			Logger: slog.New(slog.NewTextHandler(writer{w}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		if err != nil {
			w.t.Error(err)
		}
		_ = a.journal.Close()
	}()
	a.stop = func() {
		cancel()
		<-a.ended
	}
	return a
}

// writer is the log of a world.
type writer struct{ w *world }

func (w writer) Write(p []byte) (int, error) {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	return w.w.logs.Write(p)
}
