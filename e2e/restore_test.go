package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/recovery"
	"github.com/keyorch/keyorch/store"
)

// TestBackupIsRestored makes a backup as an operator, rotates on, empties etcd, and puts
// the backup back as the administrator. The records are behind the agents then.
func TestBackupIsRestored(t *testing.T) {
	w := newWorld(t)
	w.declare(threeSites + manyPolicies())
	w.staff()
	w.rotate(0, "--all")
	w.traffic()
	mine, other := w.ageKey("mine"), w.ageKey("other")
	file := filepath.Join(w.Lab.Dir, "monday.age")
	w.keyorch(2, "backup", file)
	w.keyorch(2, "backup", file, "--recipient", "age1nobody")
	if _, err := os.Stat(file); err == nil {
		t.Error("a backup that failed has left a file")
	}
	w.keyorch(0, "backup", file, "--recipient", mine.recipient)
	w.rotate(0, "--all")
	w.administrator(3, "restore", file, "--age-identity", mine.file) // etcd is not empty
	turns, epochs := w.turns(), w.reportedEpochs()
	w.worker.Kill()
	w.stopView()
	must(t, w.Lab.Stack.Stop(t.Context()))
	w.emptied()
	stack, err := devstack.Start(t.Context(), devstack.Options{Data: w.Lab.Stack.Data})
	must(t, err)
	w.Lab.Stack = stack

	whole, err := os.ReadFile(file)
	must(t, err)
	cut := filepath.Join(w.Lab.Dir, "cut.age")
	must(t, os.WriteFile(cut, whole[:len(whole)-100], 0o600))
	for what, c := range map[string]struct{ file, key, says string }{
		"cut":                    {cut, mine.file, "cut after entry"},
		"another key":            {file, other.file, "none of the identities"},
		"no backup":              {other.file, mine.file, "not encrypted with age"},
		"a key that is no key":   {file, cut, "not a file of age identities"},
		"a file that is no file": {filepath.Join(w.Lab.Dir, "none"), mine.file, "no such file"},
	} {
		env, err := w.Lab.Stack.Env(t.Context(), devstack.Root)
		must(t, err)
		said := w.with(env, "restore", c.file, "--age-identity", c.key)
		if said.Code != 2 && said.Code != 3 || !strings.Contains(said.Err, c.says) {
			t.Errorf("%s: exit %d: %s", what, said.Code, said.Err)
		}
	}
	w.administrator(0, "restore", file, "--age-identity", mine.file, "--dry-run")
	w.restoreIsKilled(whole, file, mine.file)
	w.administrator(0, "restore", file, "--age-identity", mine.file)
	w.look()
	w.run("TestDeniedOperatorRestoresOrRecovers", func(t *testing.T) {
		w.keyorch(3, "restore", file, "--age-identity", mine.file)
		w.keyorch(3, "recover")
	})
	w.supervise()
	w.until("the agents are back", func() bool {
		for _, l := range w.topo.Links {
			if _, why := w.record(l.Name).State.Behind(w.view.Reports(l.Name)); why == "" {
				return false
			}
		}
		return true
	})
	for id, o := range w.recovers(0) {
		if o != recovery.Rebuilt {
			t.Errorf("%s is %s", id, o)
		}
	}
	w.until("the view has the records", func() bool { return w.record("dc1-dc2").State.Turn > turns["dc1-dc2"] })
	w.ahead(turns, epochs)
	w.normal()
}

// ageKey is a key of age, in a file and as a recipient.
func (w *world) ageKey(name string) (k struct{ file, recipient string }) {
	w.t.Helper()
	id, err := age.GenerateX25519Identity()
	must(w.t, err)
	k.file, k.recipient = filepath.Join(w.Lab.Dir, name+".key"), id.Recipient().String()
	must(w.t, os.WriteFile(k.file, []byte(id.String()+"\n"), 0o600))
	return k
}

// manyPolicies make a backup so long that it is written in several transactions.
func manyPolicies() string {
	var b strings.Builder
	for i := range 600 {
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: spare-%03d}\nspec: {drain: 1s}\n", i)
	}
	return b.String()
}

// restoreIsKilled kills a restore with SIGKILL when it has written some of the backup,
// and wants what stands between to be of no use to anybody. The restore that follows goes
// on with it.
//
// It reads the backup from a pipe, twice, and the second time there is no end to it.
func (w *world) restoreIsKilled(whole []byte, file, key string) {
	w.t.Helper()
	pipe := filepath.Join(w.Lab.Dir, "monday.pipe")
	must(w.t, syscall.Mkfifo(pipe, 0o600))
	env, err := w.Lab.Stack.Env(w.t.Context(), devstack.Root)
	must(w.t, err)
	restore := exec.Command(w.Path, "restore", pipe, "--age-identity", key)
	restore.Env = slices.Concat(env, []string{"HOME=" + w.Lab.Dir})
	out, err := restore.StdoutPipe()
	must(w.t, err)
	must(w.t, restore.Start())
	feed := func(data []byte) *os.File {
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for who reads
		must(w.t, err)
		_, err = f.Write(data)
		must(w.t, err)
		return f
	}
	must(w.t, feed(whole).Close())
	checked := make([]byte, 10) // "…; all of them can be read": it has read all of it, once
	_, err = out.Read(checked)
	must(w.t, err)
	held := feed(whole[:len(whole)-1000])
	defer func() { _ = held.Close() }()
	root, err := w.Lab.Stack.EtcdClient(w.t.Context(), devstack.Root)
	must(w.t, err)
	defer func() { _ = root.Close() }()
	w.eventually("some of it is written", func() bool { return w.restored(root) > 0 })
	must(w.t, restore.Process.Kill())
	if err := restore.Wait(); !errors.As(err, new(*exec.ExitError)) {
		w.t.Fatalf("the restore ended with %v", err)
	}
	w.halfRestored(file, key)
}

// halfRestored wants nobody to use what a restore has written that was cut off.
func (w *world) halfRestored(file, key string) {
	w.t.Helper()
	other := filepath.Join(w.Lab.Dir, "other.yaml")
	must(w.t, os.WriteFile(other, []byte("apiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc9}\n"), 0o600))
	for _, args := range [][]string{{"recover"}, {"apply", "-f", other}, {"enroll", "dc2", "--out", filepath.Join(w.Lab.Dir, "dc2.join")}} {
		if said := w.administrator(3, args...); !strings.Contains(said.Err, "has not ended: run keyorch restore again") {
			w.t.Errorf("%v: %s", args, said.Err)
		}
	}
	// The worker is refused by etcd, which has no user for it, until the restore has ended.
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	c, err := w.Lab.Stack.EtcdAs(ctx, devstack.Worker)
	must(w.t, err)
	worker, err := store.Open(ctx, c)
	if err == nil {
		err = worker.Whole(ctx)
		_ = worker.Close()
	}
	if !fault.Is(err, fault.Refused) {
		w.t.Errorf("a worker meanwhile: %v", err)
	}
}

// restored is how many records there are.
func (w *world) restored(root *clientv3.Client) int64 {
	w.t.Helper()
	resp, err := root.Get(w.t.Context(), store.DefaultPrefix+"/links/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	must(w.t, err)
	return resp.Count
}
