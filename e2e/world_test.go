package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// patience is how long a test waits for what has to happen. A killed agent's
// presence lasts 10 s, and a killed worker's activity 5 s.
const patience = 60 * time.Second

// world is one stack with processes on it. The network lives in the test, so
// that traffic goes on whatever is killed.
type world struct {
	*lab.Binary
	t        *testing.T
	topo     topology.Topology
	worker   *lab.Process
	agents   map[keychain.SiteID]*lab.Process
	view     *store.View
	stopView func()
}

// newWorld starts a stack on which nothing is declared yet.
func newWorld(t *testing.T, changes ...func(*devstack.Options)) *world {
	t.Helper()
	dir := t.TempDir()
	// A socket's path must be short, which a test's directory is not.
	sockets, err := os.MkdirTemp("", "keyorch-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	options := devstack.Options{Data: filepath.Join(dir, "data")}
	for _, change := range changes {
		change(&options)
	}
	stack, err := devstack.Start(t.Context(), options)
	must(t, err)
	l := &lab.Lab{Stack: stack, Network: sim.NewNetwork(sim.Options{}), Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	w := &world{t: t, Binary: &lab.Binary{Lab: l, Path: binary}, agents: map[keychain.SiteID]*lab.Process{}}
	listener, err := net.Listen("unix", filepath.Join(sockets, "sim.sock"))
	must(t, err)
	serving, stopServing := context.WithCancel(context.Background())
	go func() { _ = l.Network.Serve(serving, listener) }()
	t.Cleanup(func() {
		w.stopAll()
		l.Network.Close()
		stopServing()
		_ = l.Stack.Stop(context.Background())
		if t.Failed() {
			w.showLogs()
		}
	})
	w.look()
	t.Setenv("SIM", "unix://"+listener.Addr().String())
	return w
}

// run is a subtest: what goes wrong in the world is its failure.
func (w *world) run(name string, f func(t *testing.T)) {
	outer := w.t
	defer func() { w.t = outer }()
	outer.Run(name, func(t *testing.T) {
		w.t = t
		f(t)
	})
}

// look opens a view of the lab's store.
func (w *world) look() {
	w.t.Helper()
	s, err := w.Lab.Store(w.t.Context())
	must(w.t, err)
	ctx, stop := context.WithCancel(context.Background())
	w.view, err = s.View(ctx)
	must(w.t, err)
	w.stopView = func() { stop(); _ = s.Close() }
}

func (w *world) stopAll() {
	if w.stopView != nil {
		w.stopView()
	}
	for _, a := range w.agents {
		a.Kill()
	}
	if w.worker != nil {
		w.worker.Kill()
	}
}

func (w *world) showLogs() {
	files, _ := filepath.Glob(filepath.Join(w.Lab.Dir, "*.log"))
	for _, f := range files {
		data, _ := os.ReadFile(f)
		if len(data) > 6000 {
			data = data[len(data)-6000:]
		}
		w.t.Logf("%s:\n%s", filepath.Base(f), data)
	}
}

// declare applies documents, in which $SIM is the network's address, and makes
// the agents' tokens good for them.
func (w *world) declare(documents string) {
	w.t.Helper()
	documents = os.Expand(documents, os.Getenv)
	file := filepath.Join(w.Lab.Dir, "network.yaml")
	must(w.t, os.WriteFile(file, []byte(documents), 0o600))
	w.keyorch(0, "apply", "-f", file)
	t, err := topology.Parse([]topology.Source{{Name: file, Data: []byte(documents)}}, wiring.Kinds(), w.topo)
	must(w.t, err)
	w.topo = w.topo.Merge(t)
	must(w.t, w.Lab.Stack.Provision(w.t.Context(), w.topo))
}

// staff starts a worker, and the agent of every site.
func (w *world) staff() {
	w.t.Helper()
	w.startWorker()
	for _, s := range w.topo.Sites {
		w.startAgent(s.Name)
	}
}

func (w *world) startWorker() {
	w.t.Helper()
	var err error
	w.worker, err = w.Worker(context.Background())
	must(w.t, err)
}

func (w *world) startAgent(site keychain.SiteID) {
	w.t.Helper()
	var err error
	w.agents[site], err = w.Agent(context.Background(), site)
	must(w.t, err)
}

// keyorch runs a verb and wants its exit code.
func (w *world) keyorch(code int, args ...string) lab.Said {
	w.t.Helper()
	said := w.Run(w.t.Context(), nil, args...)
	if said.Code != code {
		w.t.Fatalf("keyorch %s: exit %d, want %d\n%s%s", strings.Join(args, " "), said.Code, code, said.Out, said.Err)
	}
	return said
}

// rotation is what `rotate -o json` says.
type rotation struct {
	Campaign string             `json:"campaign"`
	Links    []workflows.Result `json:"links"`
}

// rotate runs keyorch rotate and wants its exit code.
func (w *world) rotate(code int, args ...string) rotation {
	w.t.Helper()
	said := w.keyorch(code, append([]string{"rotate", "-o", "json"}, args...)...)
	var r rotation
	if err := json.Unmarshal([]byte(said.Out), &r); err != nil {
		w.t.Fatalf("rotate -o json: %v\n%s", err, said.Out)
	}
	return r
}

// rotating runs keyorch rotate beside the test; the returned function waits for
// its end and wants its exit code.
func (w *world) rotating(args ...string) (ended func(code int)) {
	done := make(chan lab.Said, 1)
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel) // it may still wait for servers that are gone
	go func() {
		done <- w.Run(ctx, nil, append([]string{"rotate"}, args...)...)
	}()
	return func(code int) {
		w.t.Helper()
		select {
		case said := <-done:
			if said.Code != code {
				w.t.Fatalf("keyorch rotate: exit %d, want %d\n%s%s", said.Code, code, said.Out, said.Err)
			}
		case <-time.After(patience):
			w.t.Fatalf("keyorch rotate did not end\n%s", w.standing())
		}
	}
}

// until waits for a condition on what the store shows.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	sub := w.view.Subscribe(nil)
	defer sub.Close()
	over := time.After(patience)
	look := time.NewTicker(50 * time.Millisecond) // packets are no news of a link
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-sub.C:
			sub.Take()
		case <-over:
			w.t.Fatalf("waited %v in vain until %s\n%s", patience, what, w.standing())
		}
	}
}

// standing is where every link stands, for a failure.
func (w *world) standing() string {
	var b strings.Builder
	for _, r := range w.view.Records() {
		fmt.Fprintf(&b, "%s: %v from %v to %v turn %d awaiting %v lost %v owner %q\n", r.Link, r.State.Phase,
			r.State.From.Ref, r.State.To.Ref, r.State.Turn, r.State.Awaiting, r.State.Lost, r.Owner)
		for _, o := range w.view.Reports(r.Link) {
			fmt.Fprintf(&b, "  %s at %d accepts %v sends %v lost %v: %s %s\n", o.Node, o.Turn, o.Accepts, o.Sends, o.Lost, o.Fault, o.Message)
		}
	}
	return b.String()
}

func (w *world) untilPhase(id keychain.LinkID, p link.Phase) {
	w.t.Helper()
	w.until(fmt.Sprintf("%s is %v", id, p), func() bool { return w.record(id).State.Phase == p })
}

func (w *world) record(id keychain.LinkID) link.Record {
	r, _ := w.view.Record(id)
	return r
}

// settled waits until a link is Steady, has no owner, and sends at least epoch.
func (w *world) settled(id keychain.LinkID, epoch keychain.Epoch) {
	w.t.Helper()
	w.until(fmt.Sprintf("%s is Steady on epoch %d or later", id, epoch), func() bool {
		r := w.record(id)
		return r.State.Phase == link.Steady && r.Owner == "" && r.State.To.Epoch >= epoch
	})
}

// traffic sends a packet every other millisecond on every pair of nodes.
func (w *world) traffic() { w.Lab.Traffic(w.topo, 2*time.Millisecond) }

// noLoss wants packets on every link, none of them lost, and no counter used
// twice with the same key.
func (w *world) noLoss() {
	w.t.Helper()
	for _, l := range w.topo.Links {
		s := w.Lab.Network.Stats(l.Name)
		if s.Sent == 0 || s.Lost.Total() > 0 || s.Reused > 0 {
			w.t.Errorf("%s: %d packets sent, %d lost (%+v), %d with a counter used before", l.Name, s.Sent, s.Lost.Total(), s.Lost, s.Reused)
		}
	}
}

// restartStack stops the servers and starts them again on the same data.
func (w *world) restartStack() {
	w.t.Helper()
	w.stopView()
	must(w.t, w.Lab.Stack.Stop(w.t.Context()))
	w.startServers()
}

func (w *world) startServers() {
	w.t.Helper()
	var err error
	w.Lab.Stack, err = devstack.Start(w.t.Context(), devstack.Options{Data: filepath.Join(w.Lab.Dir, "data")})
	must(w.t, err)
	w.look()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// threeSites is a full mesh of three sites; dc2 has two spines, of which one is
// counter-bound.
const threeSites = `
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc1}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc2}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc3}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: dc1-spine1}
spec: {site: dc1, device: {kind: sim, network: "$SIM", counterBound: true}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: dc2-spine1}
spec: {site: dc2, device: {kind: sim, network: "$SIM", counterBound: true}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: dc2-spine2}
spec: {site: dc2, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: dc3-spine1}
spec: {site: dc3, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: quick}
spec: {drain: 300ms}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: dc1-dc2}
spec: {upstream: [dc1-spine1], downstream: [dc2-spine1, dc2-spine2], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: dc2-dc1}
spec: {upstream: [dc2-spine1, dc2-spine2], downstream: [dc1-spine1], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: dc1-dc3}
spec: {upstream: [dc1-spine1], downstream: [dc3-spine1], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: dc3-dc1}
spec: {upstream: [dc3-spine1], downstream: [dc1-spine1], policy: quick}
`

// terminate ends a workflow the hard way, as an operator may in Temporal's own
// tools.
func (w *world) terminate(id string) {
	w.t.Helper()
	c, err := wiring.DialTemporal(w.t.Context(), w.Lab.Stack.TemporalAddress, w.Lab.Stack.TemporalNamespace, w.Lab.Logger)
	must(w.t, err)
	defer c.Close()
	must(w.t, c.TerminateWorkflow(w.t.Context(), id, "", "a test"))
}
