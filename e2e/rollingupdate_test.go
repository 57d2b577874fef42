package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
)

// TestRollingUpdateOfAgents replaces the agent of a site in every phase of a
// rotation, as the chart has Kubernetes do it: on a host the old one goes first and
// leaves its journal to the new one; where agents run anywhere the new one is there
// first, with a journal of its own, and waits.
func TestRollingUpdateOfAgents(t *testing.T) {
	w := rotatingWorld(t)
	w.slowly(100 * time.Millisecond)
	tenures := w.watchTenures("dc2")
	const id = "dc1-dc2"
	for form, replace := range map[string]func(){"on a host": w.replaceOnHost, "anywhere": w.replaceAnywhere} {
		for _, phase := range inFlight {
			w.run(form+", in "+phase.String(), func(t *testing.T) {
				before := w.record(id).State.To.Epoch
				ended := w.rotating("--all")
				w.untilPhase(id, phase)
				replace()
				w.until("the new agent serves the site", func() bool {
					a, one := w.view.Agent("dc2-spine1")
					b, both := w.view.Agent("dc2-spine2")
					pid := w.agents["dc2"].PID()
					return one && both && a.PID == pid && b.PID == pid
				})
				ended(0)
				for _, l := range w.topo.Links {
					w.settled(l.Name, before+1)
				}
				w.noLoss()
			})
		}
	}
	tenures.check(t, 2*len(inFlight)+1)
}

// replaceOnHost is the update of a DaemonSet: the old agent goes, then the new one
// comes with what the host has kept.
func (w *world) replaceOnHost() {
	w.t.Helper()
	w.terminated("dc2", w.agents["dc2"])
	port := w.freePort()
	var err error
	w.agents["dc2"], err = w.Agent(context.Background(), "dc2", "--health-listen", port)
	must(w.t, err)
	w.becomesReady(port)
}

// replaceAnywhere is the update of a Deployment: the new agent is ready while the
// old one still acts, and takes over when that one goes.
func (w *world) replaceAnywhere() {
	w.t.Helper()
	old, port := w.agents["dc2"], w.freePort()
	next, err := w.Agent(context.Background(), "dc2", "--health-listen", port, "--state-dir", filepath.Join(w.t.TempDir(), "state"))
	must(w.t, err)
	w.becomesReady(port)
	if a, ok := w.view.Agent("dc2-spine1"); !ok || a.PID != old.PID() {
		w.t.Errorf("the new agent is ready, and the node is served by process %d, not by the old one", a.PID)
	}
	w.terminated("dc2", old)
	w.agents["dc2"] = next
}

// terminated ends an agent as a kubelet does, which waits 30 s before it kills.
func (w *world) terminated(site string, p *lab.Process) {
	w.t.Helper()
	began := time.Now()
	if code := p.Terminate(); code != 0 {
		w.t.Errorf("the agent of %s ended with %d on SIGTERM", site, code)
	}
	if took := time.Since(began); took > 25*time.Second {
		w.t.Errorf("the agent of %s took %v to end", site, took)
	}
}

func (w *world) freePort() string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (w *world) becomesReady(address string) {
	w.t.Helper()
	w.until("the new agent is ready", func() bool {
		resp, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// tenures is who had the right to act on the nodes of a site, one after the other,
// as etcd saw it.
type tenures struct {
	mu     sync.Mutex
	events map[string][]string // by node: "PID comes", "goes"
}

func (w *world) watchTenures(site string) *tenures {
	w.t.Helper()
	client, err := w.Lab.Stack.EtcdClient(w.t.Context(), devstack.Worker)
	must(w.t, err)
	seen := &tenures{events: map[string][]string{}}
	prefix := "/keyorch/v1/agents/" + site + "/"
	had, err := client.Get(w.t.Context(), prefix, clientv3.WithPrefix())
	must(w.t, err)
	for _, kv := range had.Kvs {
		seen.note(w.t, string(kv.Key), kv.Value)
	}
	ctx, cancel := context.WithCancel(context.Background())
	watch := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(had.Header.Revision+1))
	over := make(chan struct{})
	go func() {
		defer close(over)
		for r := range watch {
			for _, e := range r.Events {
				seen.note(w.t, string(e.Kv.Key), e.Kv.Value)
			}
		}
	}()
	w.t.Cleanup(func() { cancel(); <-over; _ = client.Close() })
	return seen
}

func (s *tenures) note(t *testing.T, key string, value []byte) {
	event := "goes"
	if len(value) > 0 {
		var a struct{ PID int }
		if err := json.Unmarshal(value, &a); err != nil {
			t.Error(err)
		}
		event = fmt.Sprintf("%d comes", a.PID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[path.Base(key)] = append(s.events[path.Base(key)], event)
}

// all reports whether that many agents have come to every node.
func (s *tenures) all(agents int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, events := range s.events {
		if (len(events)+1)/2 < agents {
			return false
		}
	}
	return true
}

// check wants agents one after the other: each has gone before the next comes, and
// who has gone does not come back.
func (s *tenures) check(t *testing.T, agents int) {
	t.Helper()
	for end := time.Now().Add(patience); !s.all(agents) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // the watch may be behind the view
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 {
		t.Error("nobody was seen")
	}
	for node, events := range s.events {
		if wrong := disorder(events); wrong != "" {
			t.Errorf("%s: %s: %v", node, wrong, events)
		}
		if got := (len(events) + 1) / 2; got != agents {
			t.Errorf("%s was served by %d agents, want %d: %v", node, got, agents, events)
		}
	}
}

// disorder says what is wrong with the order in which agents came and went.
func disorder(events []string) string {
	came := map[string]bool{}
	for i, e := range events {
		switch {
		case i%2 == 0 && e == "goes":
			return "somebody goes who has not come"
		case i%2 == 1 && e != "goes":
			return "two at once"
		case e != "goes" && came[e]:
			return e + " again"
		}
		came[e] = true
	}
	return ""
}

func TestDisorderIsSeen(t *testing.T) {
	for want, events := range map[string][]string{
		"":                               {"1 comes", "goes", "2 comes"},
		"two at once":                    {"1 comes", "2 comes", "goes"},
		"1 comes again":                  {"1 comes", "goes", "2 comes", "goes", "1 comes"},
		"somebody goes who has not come": {"goes", "1 comes"},
	} {
		if got := disorder(events); got != want {
			t.Errorf("%v: %q, want %q", events, got, want)
		}
	}
}
