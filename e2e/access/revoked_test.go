package access_test

import (
	"strings"
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
// revoked sees with the watch that it has what is written for its nodes; keyorch
// writes no key there any more.
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

	// A worker that has not heard of the exclusion goes on with a new key.
	records, err := worker.Records(w.ctx, []keychain.LinkID{"ab"})
	must(t, err)
	next := link.Record{Link: "ab", State: records[0].State, Revision: records[0].Revision}
	next.State, err = link.Step(next.State, link.Abort{At: time.Now()})
	must(t, err)
	stale := func(r link.Record) error {
		out, err := worker.Commit(w.ctx, []store.Change{{
			Record: r, Minted: keychain.Wrapped{KEK: "keyorch-sites-dc1.dc2", Ciphertext: "vault:v1:secret"},
			Sites: map[keychain.NodeID]keychain.SiteID{"up": "dc1", "down": "dc2"},
		}})
		must(t, err)
		return out[0].Err
	}
	_ = stale
	_ = next
	until(t, "etcd goes on", func() bool {
		_, err := w.raw("root").Put(w.ctx, prefix+"/orders/dc1/up/ab", "{}")
		return err == nil
	})
	select {
	case r := <-open:
		for _, e := range r.Events {
			t.Errorf("the open watch was shown %s %s", e.Type, e.Kv.Key)
		}
	case <-time.After(200 * time.Millisecond):
	}
}
