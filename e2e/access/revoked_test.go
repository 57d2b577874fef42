package access_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// revoke does what the verb does: exclude, expel.
func revoke(w *world, cn string) {
	w.t.Helper()
	root, i := w.open("root"), who(w.t, cn)
	must(w.t, root.Exclude(w.ctx, topology.Exclusion{Site: i.Site}))
	steps, err := root.Expel(w.ctx, i)
	must(w.t, err)
	if len(steps) != 3 || steps[0].Action != store.Removed {
		w.t.Fatalf("expelling gives %+v", steps)
	}
	again, err := root.Expel(w.ctx, i)
	must(w.t, err)
	if again[0].Action != store.Unchanged || again[2].Action != store.Unchanged {
		w.t.Fatalf("expelling again gives %+v", again)
	}
}

func TestDeniedRevokedAgentReconnecting(t *testing.T) {
	w := prepared(t, everybody()...)
	files := w.authority.Issue(t, "keyorch-agent.dc2")
	s, err := store.Open(w.ctx, w.config(files))
	must(t, err)
	must(t, s.Close())
	revoke(w, "keyorch-agent.dc2")
	_, err = store.Open(w.ctx, w.config(files))
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "etcd has no user keyorch-agent.dc2") {
		t.Fatalf("the revoked agent opens etcd with %v", err)
	}
	w.open("keyorch-agent.dc1")
}

func TestDeniedRevokedAgentsLiveConnection(t *testing.T) {
	w := prepared(t, everybody()...)
	live, raw := w.open("keyorch-agent.dc2"), w.raw("keyorch-agent.dc2")
	tenure, err := live.Serve(w.ctx, "dc2", "down", store.Agent{Instance: "one"})
	must(t, err)
	must(t, tenure.Report(w.ctx, observation("dc2", "down", "ab", 1)))
	_, err = raw.Get(w.ctx, prefix+"/orders/dc2/", clientv3.WithPrefix())
	must(t, err)
	lease, err := raw.Grant(w.ctx, 60)
	must(t, err)
	_, err = raw.Put(w.ctx, prefix+"/agents/dc2/evil", "{}", clientv3.WithLease(lease.ID))
	must(t, err)

	began := time.Now()
	revoke(w, "keyorch-agent.dc2")
	receive(t, "the honest session ends", tenure.Done())
	t.Logf("the session ended %v after the revocation began", time.Since(began).Round(time.Millisecond))
	if err := tenure.Report(w.ctx, observation("dc2", "down", "ab", 2)); !fault.Is(err, fault.Stale) {
		t.Errorf("its report ends with %v", err)
	}
	for what, do := range map[string]func() error{
		"reading orders": func() error { _, err := raw.Get(w.ctx, prefix+"/orders/dc2/", clientv3.WithPrefix()); return err },
		"reporting":      func() error { _, err := raw.Put(w.ctx, prefix+"/observations/dc2/down/ab", "{}"); return err },
		"being present":  func() error { _, err := raw.Put(w.ctx, prefix+"/agents/dc2/down", "{}"); return err },
		"a new watch":    func() error { r := <-raw.Watch(w.ctx, prefix+"/orders/dc2/", clientv3.WithPrefix()); return r.Err() },
		"an empty compare": func() error {
			_, err := raw.Txn(w.ctx).If(clientv3.Compare(clientv3.Version(prefix+"/orders/dc2/down/ab"), ">", 0)).Commit()
			return err
		},
	} {
		if err := do(); !isDenied(err) {
			t.Errorf("%s on the connection that it had ends with %v", what, err)
		}
	}
	left, err := w.raw("root").Get(w.ctx, prefix+"/agents/dc2/", clientv3.WithPrefix())
	must(t, err)
	if len(left.Kvs) != 0 {
		t.Errorf("%d of its nodes are still present", len(left.Kvs))
	}
	_, err = live.Serve(w.ctx, "dc2", "down", store.Agent{Instance: "one"})
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "has no user keyorch-agent.dc2") {
		t.Errorf("serving again ends with %v", err)
	}
}

// etcd checks a watch when it begins, and goes on with it after that. So whoever was
// revoked sees, with the watch that it has, what is written for its nodes. keyorch
// writes no key there, until the site is enrolled again; what is wrapped then Vault
// does not open for who was revoked. A restart of etcd, one member after the other, ends
// such watches.
func TestDeniedRevokedAgentsOpenWatch(t *testing.T) {
	w := prepared(t, everybody()...)
	_, err := w.open("keyorch-operator").Apply(w.ctx, 0, declared())
	must(t, err)
	worker := w.open("keyorch-worker")
	begin(w, worker)
	raw := w.raw("keyorch-agent.dc2")
	open := raw.Watch(clientv3.WithRequireLeader(w.ctx), prefix+"/orders/dc2/", clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
	if r := <-open; r.Err() != nil {
		t.Fatal(r.Err())
	}
	revoke(w, "keyorch-agent.dc2")

	// A worker that has not heard of it goes on with a new key.
	if err := commitNew(w, worker, "new"); !fault.Is(err, fault.Stale) || !strings.Contains(err.Error(), "down is excluded") {
		t.Errorf("a key for the revoked agent ends with %v", err)
	}
	_, err = w.raw("root").Put(w.ctx, prefix+"/orders/dc2/down/zz", "the end")
	must(t, err)
	if r := receive(t, "the watch goes on", open); len(r.Events) != 1 || string(r.Events[0].Kv.Value) != "the end" {
		t.Fatalf("the open watch was shown %v", r.Events)
	}

	// What remains: the site is enrolled again.
	root := w.open("root")
	_, err = root.Admit(w.ctx, who(t, "keyorch-agent-2.dc2"))
	must(t, err)
	must(t, root.Readmit(w.ctx, topology.Exclusion{Site: "dc2"}))
	w.restart()
	if r := receive(t, "the watch ends with the connection", open); !isDenied(r.Err()) {
		t.Fatalf("after a restart of etcd the watch gives %v, %v", r.Events, r.Err())
	}
	must(t, commitNew(w, worker, "newer"))
	if r, more := <-open; more {
		t.Fatalf("the watch that has ended gives %v", r.Events)
	}
}

// commitNew begins a link that was not there.
func commitNew(w *world, worker *store.Store, id keychain.LinkID) error {
	w.t.Helper()
	st, err := link.Step(link.New([]keychain.NodeID{"up"}, []keychain.NodeID{"down"}), link.Rotate{Epoch: 1, At: time.Now()})
	must(w.t, err)
	out, err := worker.Commit(w.ctx, []store.Change{{
		Record: link.Record{Link: id, State: st}, Minted: keychain.Wrapped{KEK: "keyorch-sites-dc1.dc2", Ciphertext: "vault:v1:" + string(id)},
		Sites: map[keychain.NodeID]keychain.SiteID{"up": "dc1", "down": "dc2"},
	}})
	must(w.t, err)
	return out[0].Err
}

// However the exclusion falls between the commits of workers, no order of an excluded
// site is written after it.
func TestDeniedOrdersAfterAnExclusion(t *testing.T) {
	w := prepared(t, everybody()...)
	operator := w.open("keyorch-operator")
	for round := range 5 {
		var busy sync.WaitGroup
		var written, stopped atomic.Int32
		for n := range 6 {
			worker := w.open("keyorch-worker")
			busy.Go(func() {
				for i := 0; stopped.Load() < 20; i++ {
					switch err := commitNew(w, worker, keychain.LinkID(fmt.Sprintf("l-%d-%d-%d", round, n, i))); {
					case err == nil:
						written.Add(1)
					case fault.Is(err, fault.Stale):
						stopped.Add(1)
					default:
						t.Error(err)
						return
					}
				}
			})
		}
		until(t, "the workers are at it", func() bool { return written.Load() > 20 })
		must(t, operator.Exclude(w.ctx, topology.Exclusion{Site: "dc2"}))
		busy.Wait()
		raw := w.raw("root")
		shut, err := raw.Get(w.ctx, prefix+"/exclusions/site/dc2")
		must(t, err)
		orders, err := raw.Get(w.ctx, prefix+"/orders/dc2/", clientv3.WithPrefix())
		must(t, err)
		for _, kv := range orders.Kvs {
			if kv.ModRevision > shut.Kvs[0].ModRevision {
				t.Errorf("%s was written %d revisions after the exclusion", kv.Key, kv.ModRevision-shut.Kvs[0].ModRevision)
			}
		}
		must(t, operator.Readmit(w.ctx, topology.Exclusion{Site: "dc2"}))
	}
}

// The agent of one site writes under its own site what it likes, also in the name of
// another site's node. Nobody believes it.
func TestDeniedSpeakingForTheNodeOfAnotherSite(t *testing.T) {
	w := prepared(t, everybody()...)
	_, err := w.open("keyorch-operator").Apply(w.ctx, 0, declared())
	must(t, err)
	begin(w, w.open("keyorch-worker"))
	view, err := w.open("keyorch-worker").View(w.ctx)
	must(t, err)
	liar := w.open("keyorch-agent.dc1")
	tenure, err := liar.Serve(w.ctx, "dc1", "down", store.Agent{Instance: "liar"})
	must(t, err)
	must(t, tenure.Report(w.ctx, observation("dc1", "down", "ab", 1000)))
	must(t, view.CatchUp(w.ctx))
	if got := view.Reports("ab"); len(got) != 0 {
		t.Errorf("the worker believes %+v", got)
	}
	if got := view.Present([]keychain.NodeID{"down"}); len(got) != 0 {
		t.Errorf("the worker believes that the node is present: %v", got)
	}
	honest, err := w.open("keyorch-agent.dc2").Serve(w.ctx, "dc2", "down", store.Agent{Instance: "honest"})
	must(t, err)
	must(t, honest.Report(w.ctx, observation("dc2", "down", "ab", 1)))
	must(t, view.CatchUp(w.ctx))
	got := view.Reports("ab")
	if len(got) != 1 || got[0].Turn != 1 {
		t.Errorf("the worker believes %+v", got)
	}
	if who, ok := view.Agent("down"); !ok || who.Instance != "honest" {
		t.Errorf("the worker believes that %s serves the node: %v", who.Instance, ok)
	}
}

// Reports that were true once are not believed again.
func TestDeniedReplayedObservation(t *testing.T) {
	w := prepared(t, everybody()...)
	_, err := w.open("keyorch-operator").Apply(w.ctx, 0, declared())
	must(t, err)
	begin(w, w.open("keyorch-worker"))
	view, err := w.open("keyorch-worker").View(w.ctx)
	must(t, err)
	agent, raw := w.open("keyorch-agent.dc2"), w.raw("keyorch-agent.dc2")
	tenure, err := agent.Serve(w.ctx, "dc2", "down", store.Agent{Instance: "one"})
	must(t, err)
	must(t, tenure.Report(w.ctx, observation("dc2", "down", "ab", 7)))
	old, err := raw.Get(w.ctx, prefix+"/observations/dc2/down/ab")
	must(t, err)
	must(t, tenure.Report(w.ctx, observation("dc2", "down", "ab", 8)))
	if err := tenure.Report(w.ctx, observation("dc2", "down", "ab", 7)); !fault.Is(err, fault.Stale) {
		t.Errorf("an older turn ends with %v", err)
	}
	// Copied to another node and to another link of its own site, past keyorch.
	for _, key := range []string{"/observations/dc2/down2/ac", "/observations/dc2/down2/ab", "/observations/dc2/down/ac"} {
		_, err := raw.Put(w.ctx, prefix+key, string(old.Kvs[0].Value))
		must(t, err)
	}
	must(t, view.CatchUp(w.ctx))
	if got := view.Reports("ac"); len(got) != 0 {
		t.Errorf("copies are believed of another link: %+v", got)
	}
	if got := view.Reports("ab"); len(got) != 1 || got[0].Node != "down" {
		t.Errorf("copies are believed of another node: %+v", got)
	}
	if got := view.Broken(); len(got) != 3 {
		t.Errorf("the copies are not named: %v", got)
	}
	// The next agent has the node: what the one before still says is refused.
	_, err = w.open("keyorch-agent.dc2").Serve(w.ctx, "dc2", "down", store.Agent{Instance: "one"})
	must(t, err)
	receive(t, "the tenure ends", tenure.Done())
	if err := tenure.Report(w.ctx, observation("dc2", "down", "ab", 9)); !fault.Is(err, fault.Stale) {
		t.Errorf("a report after the tenure ends with %v", err)
	}
}
