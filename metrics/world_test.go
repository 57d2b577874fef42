package metrics

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// world is a View that a test writes to.
type world struct {
	mu        sync.Mutex
	topology  topology.Topology
	records   map[keychain.LinkID]link.Record
	reports   map[keychain.LinkID][]keychain.Report
	present   []keychain.NodeID
	campaigns []campaign.Record

	news    chan struct{}
	changed map[keychain.LinkID]bool
}

func newWorld() *world {
	return &world{records: map[keychain.LinkID]link.Record{}, reports: map[keychain.LinkID][]keychain.Report{},
		news: make(chan struct{}, 1), changed: map[keychain.LinkID]bool{}}
}

// change lets f write one link's record, and tells.
func (w *world) change(id keychain.LinkID, f func(*link.Record)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.records[id]
	r.Link, r.Revision = id, r.Revision+1
	f(&r)
	w.records[id] = r
	w.tell(id)
}

// forget takes the record of a link away.
func (w *world) forget(id keychain.LinkID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.records, id)
	w.tell(id)
}

// report replaces the reports about a link.
func (w *world) report(id keychain.LinkID, reports ...keychain.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports[id] = reports
	w.tell(id)
}

func (w *world) tell(id keychain.LinkID) {
	w.changed[id] = true
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *world) Topology() topology.Topology { w.mu.Lock(); defer w.mu.Unlock(); return w.topology }

func (w *world) Record(id keychain.LinkID) (link.Record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.records[id]
	return r, ok
}

func (w *world) Records() []link.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []link.Record
	for _, r := range w.records {
		all = append(all, r)
	}
	return all
}

func (w *world) Reports(id keychain.LinkID) []keychain.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reports[id]
}

func (w *world) Present(nodes []keychain.NodeID) []keychain.NodeID {
	return slices.DeleteFunc(slices.Clone(nodes), func(n keychain.NodeID) bool { return !slices.Contains(w.present, n) })
}

func (w *world) Campaigns() []campaign.Record { return w.campaigns }

func (w *world) Subscribe([]keychain.LinkID) Subscription { return w }

func (w *world) Changed() <-chan struct{} { return w.news }

func (w *world) Take() []keychain.LinkID {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []keychain.LinkID
	for id := range w.changed {
		all = append(all, id)
	}
	clear(w.changed)
	return all
}

func (w *world) Close() {}

// declare adds one link with a node at each end.
func (w *world) declare(id keychain.LinkID, policy string) {
	up, down := keychain.NodeID(id+"-a"), keychain.NodeID(id+"-b")
	w.topology = w.topology.Merge(topology.Topology{
		Nodes: []topology.Node{{Name: up}, {Name: down}},
		Links: []topology.Link{{Name: id, Upstream: []keychain.NodeID{up}, Downstream: []keychain.NodeID{down}, Policy: policy}},
	})
}

// steady is the record of a link that is on epoch e of a key made then.
func steady(e keychain.Epoch, made, ended time.Time) func(*link.Record) {
	return func(r *link.Record) {
		key := link.Key{Ref: keychain.Ref{Epoch: e}}
		r.State.Phase, r.State.To, r.State.From, r.State.Highest, r.State.Since = link.Steady, key, link.Key{}, e, ended
		r.Last = link.Attempt{Outcome: link.Rotated, Epoch: e, Begun: made, Ended: ended}
		r.Completed = r.Last
	}
}

// staging begins a rotation of a steady link.
func staging(at time.Time) func(*link.Record) {
	return func(r *link.Record) {
		r.State.From = r.State.To
		r.State.To = link.Key{Ref: keychain.Ref{Epoch: r.State.Highest + 1}}
		r.State.Highest++
		r.State.Phase, r.State.Since = link.Staging, at
		r.Last = link.Attempt{Outcome: link.Held, Epoch: r.State.From.Epoch, Begun: at}
	}
}

// scraped is every sample that a handler gives out, by name and labels as
// Prometheus writes them.
func scraped(t *testing.T, h http.Handler) map[string]float64 {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("scrape: %d: %s", rec.Code, rec.Body)
	}
	body, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			t.Fatal(line)
		}
		samples[line[:cut]] = v
	}
	return samples
}

// want fails for every sample that is not what it should be.
func want(t *testing.T, got map[string]float64, wanted map[string]float64) {
	t.Helper()
	for name, v := range wanted {
		if g, ok := got[name]; !ok || g != v {
			t.Errorf("%s is %v (there: %v), want %v", name, g, ok, v)
		}
	}
}

// complaining is a logger that fails the test for anything that it is given.
func complaining(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(failing{t}, nil))
}

type failing struct{ t *testing.T }

func (f failing) Write(p []byte) (int, error) {
	f.t.Helper()
	f.t.Error("logged: ", string(p))
	return len(p), nil
}
