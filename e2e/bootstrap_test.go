package e2e_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/store"
)

// emptyWorld is servers that nobody has prepared.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, Binary: &lab.Binary{Path: binary, Lab: &lab.Lab{Dir: dir, Logger: slog.New(slog.DiscardHandler)}}}
	w.start(t)
	t.Cleanup(func() { _ = w.Lab.Stack.Stop(t.Context()) })
	return w
}

// start starts the servers, again with what they had.
func (w *world) start(t *testing.T) {
	t.Helper()
	stack, err := devstack.Start(t.Context(), devstack.Options{Data: filepath.Join(w.Lab.Dir, "data"), Empty: true})
	must(t, err)
	w.Lab.Stack = stack
}

// prepare runs bootstrap as the administrator, for a namespace that is not there, and
// gives its lines.
func (w *world) prepare(code int, args ...string) []string {
	w.t.Helper()
	env, err := w.Lab.Stack.Env(w.t.Context(), devstack.Root)
	must(w.t, err)
	args = append([]string{"bootstrap"}, args...)
	said := w.wanting(code, w.with(append(env, "TEMPORAL_NAMESPACE=keyorch"), args...), args)
	return strings.Split(strings.TrimSpace(said.Out), "\n")[1:]
}

func TestBootstrapPreparesEmptyServersOnce(t *testing.T) {
	w := emptyWorld(t)
	w.run("a dry run changes nothing", func(t *testing.T) {
		for range 2 {
			if lines := w.prepare(0, "--dry-run"); !allEnd(lines, "would be created", "would be configured") {
				t.Errorf("%s", strings.Join(lines, "\n"))
			}
		}
		config, err := w.Lab.Stack.EtcdAs(t.Context(), devstack.Root)
		must(t, err)
		s, err := store.Open(t.Context(), config)
		must(t, err)
		defer func() { _ = s.Close() }()
		if on, err := s.AuthEnabled(t.Context()); on || err != nil {
			t.Errorf("access control is on: %v, %v", on, err)
		}
	})
	ca := filepath.Join(w.Lab.Dir, "keyorch-ca.crt")
	w.prepare(0, "--only", "vault", "--ca-out", ca)
	w.trustToo(ca)
	first := w.prepare(0)
	w.run("a second time changes nothing", func(t *testing.T) {
		if again := w.prepare(0); len(again) != len(first) || !allEnd(again, "exists") {
			t.Errorf("%s", strings.Join(again, "\n"))
		}
	})
	w.run("who is let in then can work", w.lettingIn)
}

// trustToo has etcd trust one more authority, as an administrator does it.
func (w *world) trustToo(ca string) {
	w.t.Helper()
	more, err := os.ReadFile(ca)
	must(w.t, err)
	must(w.t, w.Lab.Stack.Stop(w.t.Context()))
	trusted := filepath.Join(w.Lab.Dir, "data", "tls", "ca.crt")
	now, err := os.ReadFile(trusted)
	must(w.t, err)
	must(w.t, os.WriteFile(trusted, append(now, more...), 0o600))
	w.start(w.t)
}

// lettingIn enrols an operator, who joins, and then may what an operator may and no
// more.
func (w *world) lettingIn(t *testing.T) {
	dir, token := filepath.Join(w.Lab.Dir, "alice"), filepath.Join(w.Lab.Dir, "alice.join")
	w.administrator(0, "enroll", "--operator", "alice", "--out", token)
	w.nobody(0, "join", "-f", token, "--identity", dir)
	file := filepath.Join(w.Lab.Dir, "site.yaml")
	must(t, os.WriteFile(file, []byte("apiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc1}\n"), 0o600))
	w.nobody(0, "apply", "-f", file, "--identity", dir)
	w.nobody(0, "get", "sites", "--identity", dir)
	for _, verb := range [][]string{{"bootstrap", "--only", "etcd"}, {"bootstrap", "--only", "vault"}, {"enroll", "dc1"}} {
		said := w.nobody(3, append(verb, "--identity", dir)...)
		if said.Out != "" {
			t.Errorf("%v did something: %s", verb, said.Out)
		}
	}
}

func allEnd(lines []string, ends ...string) bool {
	for _, l := range lines {
		ok := false
		for _, end := range ends {
			ok = ok || strings.HasSuffix(strings.TrimSpace(l), end)
		}
		if !ok {
			return false
		}
	}
	return len(lines) > 0
}
