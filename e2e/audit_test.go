package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/link"
)

// trail is what `audit show` gives.
func (w *world) trail(args ...string) []audit.Record {
	w.t.Helper()
	said := w.keyorch(0, append([]string{"audit", "show", "--limit", "0", "-o", "json"}, args...)...)
	var out struct{ Items []audit.Record }
	must(w.t, json.Unmarshal([]byte(said.Out), &out))
	return out.Items
}

// exported writes an export into a new file, and the public keys into another.
func (w *world) exported(name string) (file, keys string) {
	w.t.Helper()
	file, keys = filepath.Join(w.Lab.Dir, name), filepath.Join(w.Lab.Dir, "audit.pem")
	w.keyorch(0, "audit", "export", file)
	must(w.t, os.WriteFile(keys, []byte(w.keyorch(0, "audit", "key").Out), 0o600))
	return file, keys
}

// TestTheTrailOfARotation has a rotation, an exclusion and a refusal in the trail, in
// their order and by whom, and verifies an export of it.
func TestTheTrailOfARotation(t *testing.T) {
	w := newWorld(t)
	w.declare(stolen)
	w.staff()
	w.rotate(0, "both")
	w.rotate(0, "both") // now with a key to drain
	w.keyorch(0, "maintenance", "set", "dc2", "--for", "1h", "--reason", "fibre work")
	w.rotate(4, "both")
	w.compromise(3, "--site", "dc3", "--reason", "stolen")
	file, keys := w.exported("trail.jsonl")

	const operator, worker = "keyorch-operator", "keyorch-worker"
	var phases []string
	for _, r := range w.trail("--link", "both", "--kind", "phase") {
		phases = append(phases, r.Verb)
		if r.By != worker {
			t.Errorf("a phase is entered by %s", r.By)
		}
		if r.Verb == link.Switching.String() && (len(r.Entered.Confirmed) == 0 || r.KCV == "") {
			t.Errorf("Switching was confirmed by %+v", r)
		}
		if r.Verb == link.Staging.String() && (len(r.Entered.Holders) == 0 || r.Entered.Holders[0].Site == "") {
			t.Errorf("who gets the key is %+v", r.Entered)
		}
	}
	inOrder(t, phases, "Staging", "Switching", "Steady", "Staging", "Switching", "Draining", "Retiring", "Steady")
	standing := w.trail("--kind", "standing")
	if len(standing) != 2 || standing[0].Verb != audit.MaintenanceBegan || standing[1].Verb != audit.Excluded || standing[1].By != operator || standing[1].Reason != "stolen" {
		t.Errorf("what stands is told as %+v", standing)
	}
	if denials := w.trail("--kind", "denial"); len(denials) == 0 || denials[0].By != worker || !strings.Contains(denials[0].Reason, "fibre work") {
		t.Errorf("what was not begun is told as %+v", denials)
	}
	for _, r := range w.trail("--kind", "declaration") {
		if r.By != operator {
			t.Errorf("something was declared by %s", r.By)
		}
	}
	ok := w.nobody(0, "audit", "verify", file, "--key", keys)
	said(t, ok.Out, "verified:", "none missing", "given with --key")
	w.tamperedFiles(file, keys)
	w.archived(keys)
	w.tamperedEtcd(file, keys)
}

// inOrder wants these among the others, in this order.
func inOrder(t *testing.T, got []string, want ...string) {
	t.Helper()
	rest := got
	for _, one := range want {
		i := slices.Index(rest, one)
		if i < 0 {
			t.Fatalf("%q is not in its place in %v", one, got)
		}
		rest = rest[i+1:]
	}
}

// archived takes what there is out of etcd, and goes on from there.
func (w *world) archived(keys string) {
	w.t.Helper()
	archive := filepath.Join(w.Lab.Dir, "archive.jsonl")
	w.keyorch(3, "audit", "archive", archive) // an operator may not
	said(w.t, w.administrator(0, "audit", "archive", archive).Out, "records 1 to ", "in etcd no more")
	w.keyorch(0, "maintenance", "set", "dc1", "--for", "1h", "--reason", "after the archive")
	w.keyorch(0, "maintenance", "end", "dc1")
	w.rotate(4, "both")
	later, _ := w.exported("later.jsonl")
	said(w.t, w.nobody(0, "audit", "verify", later, "--key", keys, "--extends", archive).Out, "extends:", "what came before is not in it")
	w.nobody(0, "audit", "verify", archive, "--key", keys)
	found := w.trail("--kind", "trail")
	if len(found) != 1 || found[0].Verb != audit.Archived || found[0].By != "root" {
		w.t.Errorf("the trail says %+v", found)
	}
}

// tamperedFiles changes an export of a real trail.
func (w *world) tamperedFiles(file, keys string) {
	w.t.Helper()
	data, err := os.ReadFile(file)
	must(w.t, err)
	lines := strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
	n := len(lines) / 2
	for name, bad := range map[string]string{
		"removed": strings.Join(slices.Delete(slices.Clone(lines), n, n+1), ""),
		"changed": strings.Replace(string(data), "fibre work", "lunch time", 1),
		"cut":     strings.Join(lines[:n], ""),
		"torn":    string(data[:len(data)/2]),
	} {
		path := filepath.Join(w.Lab.Dir, name+".jsonl")
		must(w.t, os.WriteFile(path, []byte(bad), 0o600))
		if out := w.nobody(3, "audit", "verify", path, "--key", keys); !strings.Contains(out.Out, "line ") {
			w.t.Errorf("%s: %s%s", name, out.Out, out.Err)
		}
	}
}

// tamperedEtcd is what somebody does who has every right on etcd.
func (w *world) tamperedEtcd(earlier, keys string) {
	w.t.Helper()
	ctx := w.t.Context()
	root, err := w.Lab.Stack.EtcdClient(ctx, devstack.Root)
	must(w.t, err)
	defer func() { _ = root.Close() }()
	s, err := w.Lab.Store(ctx)
	must(w.t, err)
	defer func() { _ = s.Close() }()
	breaks := func() int {
		head, err := s.Trail().Head(ctx)
		if err != nil {
			return 0
		}
		return len(head.Breaks)
	}
	const chain, head = "/keyorch/v1/trail/chain/", "/keyorch/v1/trail/head"
	w.run("the head is rolled back while the scribe runs", func(t *testing.T) {
		old, err := root.Get(ctx, head)
		must(t, err)
		w.keyorch(0, "maintenance", "end", "dc2")
		w.exported("between.jsonl")
		_, err = root.Put(ctx, head, string(old.Kvs[0].Value))
		must(t, err)
		w.keyorch(0, "maintenance", "set", "dc2", "--for", "1h", "--reason", "again")
		w.until("the scribe notices", func() bool { return breaks() >= 1 })
		file, _ := w.exported("rolledback.jsonl")
		bad := w.nobody(3, "audit", "verify", file, "--key", keys, "--extends", earlier)
		said(t, bad.Out, "segment 2 begins: the trail was found to be broken")
		found := w.trail("--kind", "trail")[1:]
		if len(found) != 1 || !strings.Contains(found[0].Reason, "the head was put back") {
			t.Errorf("the trail says %+v", found)
		}
	})
	w.run("a block is deleted while no worker runs", func(t *testing.T) {
		// What was written behind a head that was put back proves nothing any more, so the block
		// must be one of the segment after it.
		w.keyorch(0, "maintenance", "set", "dc2", "--for", "2h", "--reason", "longer")
		w.exported("longer.jsonl")
		w.worker.Kill()
		blocks, err := root.Get(ctx, chain, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		must(t, err)
		_, err = root.Delete(ctx, string(blocks.Kvs[len(blocks.Kvs)-2].Key))
		must(t, err)
		w.startWorker()
		w.until("the scribe notices", func() bool { return breaks() >= 2 })
		file, _ := w.exported("deleted.jsonl")
		bad := w.nobody(3, "audit", "verify", file, "--key", keys)
		said(t, bad.Out, "missing")
	})
	w.run("a block is changed", func(t *testing.T) {
		w.worker.Kill()
		first, err := root.Get(ctx, chain, clientv3.WithPrefix(), clientv3.WithLimit(1))
		must(t, err)
		b, err := audit.DecodeBlock(first.Kvs[0].Value)
		must(t, err)
		b.Bodies[0] = []byte(`{"kind":"operator","verb":"nothing"}`)
		doc, err := b.Encode()
		must(t, err)
		_, err = root.Put(ctx, string(first.Kvs[0].Key), string(doc))
		must(t, err)
		w.startWorker()
		w.until("the scribe notices", func() bool { return breaks() >= 3 })
		file, _ := w.exported("changed.jsonl")
		bad := w.nobody(3, "audit", "verify", file, "--key", keys)
		said(t, bad.Out, "does not go with its hash")
	})
	w.keyorch(0, "maintenance", "end", "dc2")
	w.rotate(0, "both") // none of this stops a rotation
}
