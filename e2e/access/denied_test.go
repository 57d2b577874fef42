package access_test

import (
	"context"
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/store"
)

// attempt is one thing that somebody tries with etcd's own client, and who may.
type attempt struct {
	what string
	do   func(ctx context.Context, c *clientv3.Client) error
	// may names one who may do the very same: or else the test would see nothing.
	may string
}

func reading(key string) attempt {
	return attempt{"reading " + key, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Get(ctx, prefix+key)
		return err
	}, "root"}
}

func listing(key string) attempt {
	return attempt{"listing " + key, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Get(ctx, prefix+key, clientv3.WithPrefix())
		return err
	}, "root"}
}

func watching(key string) attempt {
	return attempt{"watching " + key, func(ctx context.Context, c *clientv3.Client) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		resp := <-c.Watch(ctx, prefix+key, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		return resp.Err()
	}, "root"}
}

func writing(key string) attempt {
	return attempt{"writing " + key, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, prefix+key, "{}")
		return err
	}, "root"}
}

func deleting(key string) attempt {
	return attempt{"deleting " + key, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Delete(ctx, prefix+key)
		return err
	}, "root"}
}

// comparing asks for the value of a key without reading it.
func comparing(key string) attempt {
	return attempt{"comparing " + key, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value(prefix+key), ">", "a")).Commit()
		return err
	}, "root"}
}

func (a attempt) by(who string) attempt {
	a.may = who
	return a
}

// isDenied knows etcd's refusal. That of a watch has nothing but its words.
func isDenied(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || err != nil && err.Error() == rpctypes.ErrGRPCPermissionDenied.Error()
}

// denied wants each attempt of one denied, and the same of another not.
func (w *world) denied(cn string, attempts ...attempt) {
	w.t.Helper()
	c := w.raw(cn)
	for _, a := range attempts {
		if err := a.do(w.ctx, c); !isDenied(err) {
			w.t.Errorf("%s of %s ends with %v", a.what, cn, err)
		}
		if err := a.do(w.ctx, w.raw(a.may)); err != nil {
			w.t.Errorf("%s of %s, who may, ends with %v", a.what, a.may, err)
		}
	}
}

func TestDeniedAgentReadingOtherSites(t *testing.T) {
	w := prepared(t, everybody()...)
	w.denied("keyorch-agent.dc1",
		reading("/orders/dc2/down/ab").by("keyorch-agent.dc2"), listing("/orders/dc2/").by("keyorch-agent.dc2"),
		watching("/orders/dc2/").by("keyorch-agent.dc2"), comparing("/orders/dc2/down/ab").by("keyorch-agent.dc2"),
		listing("/orders/"), watching("/orders/"), listing("/observations/dc2/").by("keyorch-agent.dc2"), listing("/agents/dc2/").by("keyorch-agent.dc2"),
		listing("/topology/node/dc2/").by("keyorch-agent.dc2"), listing("/orders/dc1").by("keyorch-auditor"))
}

func TestDeniedAgentWritingForOtherSites(t *testing.T) {
	w := prepared(t, everybody()...)
	w.denied("keyorch-agent.dc1",
		writing("/observations/dc2/down/ab").by("keyorch-agent.dc2"), deleting("/observations/dc2/down/ab").by("keyorch-agent.dc2"),
		writing("/agents/dc2/down").by("keyorch-agent.dc2"), deleting("/agents/dc2/down").by("keyorch-agent.dc2"))
}

func TestDeniedAgentReadingLinks(t *testing.T) {
	w := prepared(t, everybody()...)
	w.denied("keyorch-agent.dc1", reading("/links/ab").by("keyorch-auditor"), listing("/links/").by("keyorch-worker"),
		watching("/links/").by("keyorch-worker"), comparing("/links/ab").by("keyorch-worker"), listing("/past/").by("keyorch-operator"),
		listing("/topology/link/").by("keyorch-operator"), listing("/enrolments/").by("keyorch-operator"), listing("/exclusions/").by("keyorch-operator"),
		listing("/").by("keyorch-auditor"))
}

func TestDeniedAgentWritingOrdersLinksTopology(t *testing.T) {
	w := prepared(t, everybody()...)
	w.denied("keyorch-agent.dc2", writing("/orders/dc2/down/ab").by("keyorch-worker"), deleting("/orders/dc2/down/ab").by("keyorch-worker"),
		writing("/links/ab").by("keyorch-worker"), writing("/topology/node/dc2/down").by("keyorch-operator"),
		writing("/topology-revision").by("keyorch-operator"), deleting("/exclusions/site/dc2").by("keyorch-operator"),
		writing("/enrolments/keyorch-agent.dc2"), writing("/campaigns/c").by("keyorch-worker"))
}

func TestDeniedNodeAgentReachingItsSitesOtherNode(t *testing.T) {
	w := prepared(t, everybody()...)
	w.denied("keyorch-agent.dc2.down", reading("/orders/dc2/down2/ac").by("keyorch-agent.dc2"), listing("/orders/dc2/").by("keyorch-agent.dc2"),
		listing("/orders/dc2/down").by("keyorch-agent.dc2"), // which is the beginning of both
		watching("/orders/dc2/").by("keyorch-agent.dc2"), listing("/topology/node/dc2/").by("keyorch-agent.dc2"),
		writing("/observations/dc2/down2/ac").by("keyorch-agent.dc2"), writing("/agents/dc2/down2").by("keyorch-agent.dc2"),
		writing("/agents/dc2/down/x").by("keyorch-agent.dc2"), reading("/topology/node/dc2/down2").by("keyorch-agent.dc2"))
}

func TestDeniedOperatorWritingWhatWorkersAndAgentsWrite(t *testing.T) {
	w := prepared(t, everybody()...)
	w.denied("keyorch-operator", writing("/observations/dc2/down/ab").by("keyorch-agent.dc2"), writing("/agents/dc2/down").by("keyorch-agent.dc2"),
		writing("/orders/dc2/down/ab").by("keyorch-worker"), writing("/links/ab").by("keyorch-worker"), deleting("/links/ab").by("keyorch-worker"),
		writing("/past/ab/1").by("keyorch-worker"), writing("/campaigns/c").by("keyorch-worker"), writing("/waves/c/1").by("keyorch-worker"),
		writing("/denials/c/ab").by("keyorch-worker"), writing("/enrolments/keyorch-agent.dc3"))
}

func TestDeniedWorkerWritingWhatAgentsAndOperatorsWrite(t *testing.T) {
	w := prepared(t, everybody()...)
	w.denied("keyorch-worker", writing("/observations/dc2/down/ab").by("keyorch-agent.dc2"), writing("/agents/dc2/down").by("keyorch-agent.dc2"),
		writing("/topology/site/dc2").by("keyorch-operator"), writing("/topology/node/dc2/down").by("keyorch-operator"),
		writing("/topology-revision").by("keyorch-operator"), deleting("/exclusions/site/dc2").by("keyorch-operator"),
		writing("/maintenance/dc2").by("keyorch-operator"), writing("/enrolments/keyorch-agent.dc3"))
}

func TestDeniedWritingIntoAnothersInbox(t *testing.T) {
	w := prepared(t, append(everybody(), "keyorch-operator.alice", "keyorch-operator.bob")...)
	inbox := func(cn string) string { return "/trail/inbox/" + cn + "/1" }
	for _, cn := range []string{"keyorch-operator", "keyorch-operator.alice", "keyorch-auditor", "keyorch-agent.dc1", "keyorch-agent.dc2.down"} {
		w.denied(cn, writing(inbox("keyorch-operator.bob")).by("keyorch-operator.bob"), deleting(inbox("keyorch-operator.bob")).by("keyorch-operator.bob"),
			writing(inbox("keyorch-agent.dc2")).by("keyorch-agent.dc2"), writing(inbox(cn+"2")))
	}
}

func TestDeniedWritingTheChain(t *testing.T) {
	w := prepared(t, everybody()...)
	for _, cn := range []string{"keyorch-operator", "keyorch-auditor", "keyorch-agent.dc2"} {
		w.denied(cn, writing("/trail/chain/00000000000000000001").by("keyorch-worker"), deleting("/trail/chain/00000000000000000001").by("keyorch-worker"),
			writing("/trail/head").by("keyorch-worker"), writing("/trail/checkpoints/1").by("keyorch-worker"), writing("/duties/scribe").by("keyorch-worker"))
	}
}

func TestDeniedAgentReadingTheChain(t *testing.T) {
	w := prepared(t, everybody()...)
	w.denied("keyorch-agent.dc2", reading("/trail/chain/1").by("keyorch-auditor"), listing("/trail/chain/").by("keyorch-operator"),
		watching("/trail/").by("keyorch-auditor"), reading("/trail/head").by("keyorch-auditor"), listing("/trail/inbox/keyorch-operator/").by("keyorch-auditor"))
}

func TestDeniedAuditorWritingAnything(t *testing.T) {
	w := prepared(t, everybody()...)
	var all []attempt
	for _, folder := range []string{"agents", "campaigns", "denials", "enrolments", "exclusions", "links", "maintenance", "observations", "orders", "past", "topology", "waves"} {
		all = append(all, writing("/"+folder+"/x/y/z"), deleting("/"+folder+"/x/y/z"))
	}
	w.denied("keyorch-auditor", append(all, writing("/topology-revision"), writing(""))...)
}

// Rights in etcd itself, and on the leases of others.
func TestDeniedAgentsRulingEtcd(t *testing.T) {
	w := prepared(t, everybody()...)
	other := w.open("keyorch-agent.dc2")
	tenure, err := other.Serve(w.ctx, "dc2", "down", store.Agent{Instance: "one"})
	must(t, err)
	held, err := w.raw("root").Get(w.ctx, prefix+"/agents/dc2/down")
	must(t, err)
	theirs := clientv3.LeaseID(held.Kvs[0].Lease)
	for _, cn := range []string{"keyorch-agent.dc1", "keyorch-operator", "keyorch-auditor", "keyorch-worker"} {
		c := w.raw(cn)
		for what, do := range map[string]func() error{
			"adding a user":        func() error { _, err := c.UserAdd(w.ctx, "x", "y"); return err },
			"granting itself root": func() error { _, err := c.UserGrantRole(w.ctx, cn, "root"); return err },
			"turning auth off":     func() error { _, err := c.AuthDisable(w.ctx); return err },
			"widening its role": func() error {
				_, err := c.RoleGrantPermission(w.ctx, cn, "\x00", "\x00", clientv3.PermissionType(clientv3.PermReadWrite))
				return err
			},
			"revoking a lease":     func() error { _, err := c.Revoke(w.ctx, theirs); return err },
			"keeping a lease":      func() error { _, err := c.KeepAliveOnce(w.ctx, theirs); return err },
			"a snapshot":           func() error { r, err := c.Snapshot(w.ctx); return read(r, err) },
			"reading other users":  func() error { _, err := c.UserGet(w.ctx, "root"); return err },
			"listing users":        func() error { _, err := c.UserList(w.ctx); return err },
			"reading other keys":   func() error { _, err := c.Get(w.ctx, "/elsewhere"); return err },
			"defragmenting":        func() error { _, err := c.Defragment(w.ctx, w.endpoint); return err },
			"compacting the past":  func() error { _, err := c.Compact(w.ctx, held.Header.Revision); return err },
			"changing the cluster": func() error { _, err := c.MemberRemove(w.ctx, 1); return err },
		} {
			if err := do(); !isDenied(err) {
				t.Errorf("%s: %s ends with %v", cn, what, err)
			}
		}
	}
	select {
	case <-tenure.Done():
		t.Error("the tenure of another has ended")
	default:
	}
}

func read(r interface{ Read([]byte) (int, error) }, err error) error {
	if err == nil {
		_, err = r.Read(make([]byte, 1))
	}
	return err
}
