package notify

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// box is an outbox in memory, with the guard that the real one has.
type box struct {
	mu      sync.Mutex
	docs    map[string][]byte
	guard   int64
	away    bool
	dropped []Dropped
}

func newBox() *box { return &box{docs: map[string][]byte{}} }

func (b *box) Read(context.Context) ([]Document, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Document
	for k, v := range b.docs {
		out = append(out, Document{k, v})
	}
	slices.SortFunc(out, func(x, y Document) int { return cmp.Compare(x.Key, y.Key) })
	return out, b.guard, nil
}

func (b *box) Write(_ context.Context, c Change) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[string]bool{}
	for _, k := range c.Delete {
		seen[k] = true
	}
	for _, d := range c.Put {
		if seen[d.Key] {
			return 0, fault.New(fault.Invalid, "%s is there twice", d.Key)
		}
		seen[d.Key] = true
	}
	switch {
	case b.away:
		return 0, fault.New(fault.Unavailable, "the outbox is away")
	case c.Head != nil && c.Guard != b.guard:
		return 0, fault.New(fault.Stale, "somebody else wrote the outbox")
	case c.Head != nil:
		b.guard++
		b.docs[headKey] = c.Head
	}
	for _, d := range c.Put {
		b.docs[d.Key] = d.Value
	}
	for _, k := range c.Delete {
		delete(b.docs, k)
	}
	b.dropped = append(b.dropped, c.Dropped...)
	return b.guard, nil
}

func (b *box) keys(folder string) (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.docs {
		if strings.HasPrefix(k, folder) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func (b *box) given() []Dropped {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.dropped)
}

// receiver is a receiver over HTTP. It answers with what answer says for each request,
// counted from zero, and notes what it took.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
	ids      []string // of what was taken
	bad      []error
}

func newReceiver(t *testing.T, answer func(i int, w http.ResponseWriter, r *http.Request) (taken bool)) *receiver {
	t.Helper()
	rec := &receiver{}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		id, err := checkStandard(signingSecret, r.Header, body, time.Now())
		rec.mu.Lock()
		i := rec.requests
		rec.requests++
		if err != nil {
			rec.bad = append(rec.bad, err)
		}
		rec.mu.Unlock()
		if answer(i, w, r) {
			rec.mu.Lock()
			rec.ids = append(rec.ids, id)
			rec.mu.Unlock()
		}
	}))
	t.Cleanup(func() {
		rec.CloseClientConnections()
		rec.Close()
		for _, err := range rec.bad {
			t.Error("a receiver was sent:", err)
		}
	})
	return rec
}

func (r *receiver) hook(name string) topology.Webhook {
	return topology.Webhook{Name: name, Format: topology.Standard, URL: r.URL + "/hunter2", SecretFile: "signing"}
}

func (r *receiver) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

func (r *receiver) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

func takes(int, http.ResponseWriter, *http.Request) bool { return true }

// answers refuses so many requests with a status, and takes those after them.
func answers(status, times int) func(int, http.ResponseWriter, *http.Request) bool {
	return func(i int, w http.ResponseWriter, _ *http.Request) bool {
		if i < times {
			w.WriteHeader(status)
			return false
		}
		return true
	}
}

// hangs never answers.
func hangs(_ int, _ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	return false
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never comes to be that", what)
		}
	}
}

// world is a view that a test changes.
type world struct {
	mu        sync.Mutex
	topology  topology.Topology
	records   map[keychain.LinkID]link.Record
	campaigns []campaign.Record
	changed   chan struct{}
	news      []keychain.LinkID
}

func newWorld(hooks ...topology.Webhook) *world {
	return &world{topology: topology.Topology{Webhooks: hooks}, records: map[keychain.LinkID]link.Record{}, changed: make(chan struct{}, 1)}
}

func (w *world) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// hold has links stand in Staging for a long time, and rest lets them end.
func (w *world) hold(links ...keychain.LinkID) {
	w.change(func() {
		for _, id := range links {
			w.records[id] = link.Record{Link: id, Revision: 1, State: link.State{Phase: link.Staging, Since: time.Now().Add(-time.Hour),
				Upstream: []keychain.NodeID{"a"}, Downstream: []keychain.NodeID{"b"}, Awaiting: []keychain.NodeID{"b"}, Turn: 1, Highest: 1,
				To: link.Key{Ref: keychain.Ref{Epoch: 1}}}}
			w.news = append(w.news, id)
		}
	})
}

func (w *world) rest(links ...keychain.LinkID) {
	w.change(func() {
		for _, id := range links {
			delete(w.records, id)
			w.news = append(w.news, id)
		}
	})
}

func (w *world) Topology() topology.Topology {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.topology
}

func (w *world) Standing() topology.Standing { return topology.Standing{} }

func (w *world) Record(id keychain.LinkID) (link.Record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.records[id]
	return r, ok
}

func (w *world) Records() (out []link.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		out = append(out, r)
	}
	return out
}

func (w *world) Reports(keychain.LinkID) []keychain.Report { return nil }

func (w *world) Present(nodes []keychain.NodeID) []keychain.NodeID { return nodes }

func (w *world) Campaigns() []campaign.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.campaigns)
}

func (w *world) Subscribe([]keychain.LinkID) Subscription { return subscription{w} }

type subscription struct{ of *world }

func (s subscription) Changed() <-chan struct{} { return s.of.changed }

func (s subscription) Take() []keychain.LinkID {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	news := s.of.news
	s.of.news = nil
	return news
}

func (s subscription) Close() {}

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// started is Run in use, until the test or the function that it gives ends it.
func started(t *testing.T, w *world, b *box, d Directory, log *slog.Logger) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		Run(ctx, Config{View: w, Outbox: b, Secrets: d, Log: log})
	}()
	stop = func() { cancel(); <-over }
	t.Cleanup(stop)
	return stop
}

func ids(n int) (out []keychain.LinkID) {
	for i := range n {
		out = append(out, keychain.LinkID(fmt.Sprintf("l%02d", i)))
	}
	return out
}
