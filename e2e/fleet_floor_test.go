package e2e_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// The floor's loops: so many calls to each server at a time.
const floorAtOnce = 16

// innerOps is how many operations of a long transaction stand together, since
// etcd takes 128 of them at most (a transaction in a transaction counts as one).
const innerOps = 100

// written is what was written to etcd between two revisions: the operations of
// each transaction, with the values as they were, under other keys.
type written struct {
	transactions [][]clientv3.Op
	keys, bytes  int
}

// revision is etcd's revision now: a write to a key that nobody looks at.
func revision(b *testing.B, c *clientv3.Client) int64 {
	b.Helper()
	put, err := c.Put(b.Context(), "/bench/mark", "")
	if err != nil {
		b.Fatal(err)
	}
	return put.Header.GetRevision()
}

// writtenBetween reads back what keyorch wrote after one revision and before
// another. It costs nothing while it is written: etcd keeps the past for an hour.
func writtenBetween(b *testing.B, c *clientv3.Client, after, before int64) written {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var w written
	var last int64
	for answer := range c.Watch(ctx, "/", clientv3.WithPrefix(), clientv3.WithRev(after+1)) {
		if err := answer.Err(); err != nil {
			b.Fatal(err)
		}
		for _, e := range answer.Events {
			if e.Kv.ModRevision >= before {
				return w
			}
			key, ours := strings.CutPrefix(string(e.Kv.Key), "/keyorch/")
			if !ours {
				continue
			}
			op := clientv3.OpPut("/floor/"+key, string(e.Kv.Value))
			if e.Type == clientv3.EventTypeDelete {
				op = clientv3.OpDelete("/floor/" + key)
			}
			if e.Kv.ModRevision != last {
				w.transactions, last = append(w.transactions, nil), e.Kv.ModRevision
			}
			n := len(w.transactions) - 1
			w.transactions[n] = append(w.transactions[n], op)
			w.keys++
			w.bytes += len(e.Kv.Value)
		}
	}
	b.Fatal("etcd ended the watch")
	return w
}

// floor is how long the calls of one rotation take with nothing between them: the
// key of every link is minted and opened by the agent of either end, with as many
// requests to open keys as were counted, and the transactions of w are written
// again. Sixteen requests to Vault and sixteen to etcd run at a time, in no order
// but that a key is opened after it was minted, and without waiting for each
// other.
func floor(b *testing.B, l *lab.Lab, t topology.Topology, w written, unwraps int) time.Duration {
	b.Helper()
	v := newVaultCalls(b, l, t)
	together := v.together(unwraps)
	etcd := etcdClient(b, l)
	defer func() { _ = etcd.Close() }()

	begun := time.Now()
	var vault, writing, both errgroup.Group
	vault.SetLimit(floorAtOnce)
	writing.SetLimit(floorAtOnce)
	both.Go(func() error {
		for _, links := range together {
			vault.Go(func() error { return v.mintAndOpen(b.Context(), links) })
		}
		return vault.Wait()
	})
	both.Go(func() error {
		for _, ops := range w.transactions {
			writing.Go(func() error {
				_, err := etcd.Txn(b.Context()).Then(nested(ops)...).Commit()
				return err
			})
		}
		return writing.Wait()
	})
	noError(b, both.Wait())
	return time.Since(begun)
}

// vaultCalls makes the floor's requests to Vault, each as the one who makes it in
// a rotation.
type vaultCalls struct {
	topo   topology.Topology
	minter *custody.Custody
	agents map[keychain.SiteID]*custody.Custody
}

func newVaultCalls(b *testing.B, l *lab.Lab, t topology.Topology) vaultCalls {
	b.Helper()
	open := func(identity string) *custody.Custody {
		c, err := l.CustodyAs(b.Context(), identity, nil)
		noError(b, err)
		return c
	}
	v := vaultCalls{topo: t, minter: open(devstack.Worker), agents: map[keychain.SiteID]*custody.Custody{}}
	for _, s := range t.Sites {
		v.agents[s.Name] = open(devstack.AgentIdentity(s.Name))
	}
	return v
}

// together sorts the links into groups under one KEK, whose keys the agents of either
// side open with one request: as many groups as make unwraps requests.
func (v vaultCalls) together(unwraps int) [][]topology.Link {
	n := len(v.topo.Links)
	most := max(1, min(128, 2*n/max(1, unwraps))) // 128 is what one request may open
	byKEK := map[string][]topology.Link{}
	for _, k := range v.topo.Links {
		kek := custody.KEK(k.Name, v.sites(k))
		byKEK[kek] = append(byKEK[kek], k)
	}
	var groups [][]topology.Link
	for _, links := range byKEK {
		groups = slices.AppendSeq(groups, slices.Chunk(links, most))
	}
	return groups
}

// sites are those of both sides of a link.
func (v vaultCalls) sites(k topology.Link) []keychain.SiteID {
	return v.topo.SitesOf(slices.Concat(k.Upstream, k.Downstream))
}

// mintAndOpen mints the keys of links one after the other, and opens them: those
// that one agent asks for at the same time go in one request.
func (v vaultCalls) mintAndOpen(ctx context.Context, links []topology.Link) error {
	const epoch = 1 << 20 // one that no link has
	wrapped := make([]keychain.Wrapped, len(links))
	for i, k := range links {
		var err error
		if wrapped[i], err = v.minter.Mint(ctx, k.Name, epoch, v.sites(k)); err != nil {
			return err
		}
	}
	for _, side := range []func(topology.Link) []keychain.NodeID{
		func(k topology.Link) []keychain.NodeID { return k.Downstream },
		func(k topology.Link) []keychain.NodeID { return k.Upstream },
	} {
		var opening errgroup.Group
		for i, k := range links {
			opening.Go(func() error {
				key, err := v.agents[v.topo.SitesOf(side(k))[0]].Unwrap(ctx, k.Name, epoch, wrapped[i])
				key.Wipe()
				return err
			})
		}
		if err := opening.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// nested is ops in a form that etcd takes, however many they are.
func nested(ops []clientv3.Op) []clientv3.Op {
	if len(ops) <= innerOps {
		return ops
	}
	var outer []clientv3.Op
	for len(ops) > 0 {
		n := min(innerOps, len(ops))
		outer = append(outer, clientv3.OpTxn(nil, ops[:n], nil))
		ops = ops[n:]
	}
	return outer
}

func etcdClient(b *testing.B, l *lab.Lab) *clientv3.Client {
	b.Helper()
	c, err := l.Stack.EtcdClient(b.Context(), devstack.Root)
	noError(b, err)
	return c
}
