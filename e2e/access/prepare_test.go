package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/store"
)

func actions(steps []store.Step) string {
	var lines []string
	for _, s := range steps {
		lines = append(lines, s.What+": "+string(s.Action))
	}
	return strings.Join(lines, "\n")
}

func TestEtcdIsPreparedOnce(t *testing.T) {
	w := start(t, true)
	root := w.open("root")
	persons := []identity.Identity{who(t, "keyorch-worker.main"), who(t, "keyorch-operator.alice")}
	const want = `etcd: role keyorch-worker: created
etcd: role keyorch-operator: created
etcd: role keyorch-auditor: created
etcd: role keyorch-worker.main/inbox: created
etcd: user keyorch-worker.main: created
etcd: role keyorch-operator.alice/inbox: created
etcd: user keyorch-operator.alice: created
etcd: user root: created
etcd: everybody is asked who they are (auth): created`
	dry, err := root.PrepareAccess(w.ctx, persons, true)
	must(t, err)
	if on, err := root.AuthEnabled(w.ctx); err != nil || on || actions(dry) != want {
		t.Fatalf("a dry run gives\n%s\nand auth is on: %v, %v", actions(dry), on, err)
	}
	steps, err := root.PrepareAccess(w.ctx, persons, false)
	must(t, err)
	if on, err := root.AuthEnabled(w.ctx); err != nil || !on || actions(steps) != want {
		t.Fatalf("it gives\n%s\nand auth is on: %v, %v", actions(steps), on, err)
	}
	unchanged := strings.ReplaceAll(want, "created", "unchanged")
	for _, dry := range []bool{true, false} {
		steps, err = root.PrepareAccess(w.ctx, persons, dry)
		must(t, err)
		if actions(steps) != unchanged {
			t.Fatalf("a second time gives\n%s", actions(steps))
		}
	}
	w.open("keyorch-worker.main")
	w.open("keyorch-operator.alice")
}

func TestARoleThatHasDriftedIsPutRight(t *testing.T) {
	w := prepared(t)
	root, raw := w.open("root"), w.raw("root")
	_, err := raw.RoleGrantPermission(w.ctx, "keyorch-auditor", prefix+"/orders/", prefix+"/orders0", clientv3.PermissionType(clientv3.PermReadWrite))
	must(t, err)
	_, err = raw.RoleRevokePermission(w.ctx, "keyorch-operator", prefix+"/maintenance/", prefix+"/maintenance0")
	must(t, err)
	for _, dry := range []bool{true, false} {
		steps, err := root.PrepareAccess(w.ctx, nil, dry)
		must(t, err)
		if got := actions(steps); !strings.Contains(got, "keyorch-auditor: configured") || !strings.Contains(got, "keyorch-operator: configured") ||
			!strings.Contains(got, "keyorch-worker: unchanged") {
			t.Fatalf("dry %v:\n%s", dry, got)
		}
	}
	for _, r := range store.Roles("") {
		have, err := raw.RoleGet(w.ctx, r.Name)
		must(t, err)
		if len(have.Perm) != len(r.Grants) {
			t.Errorf("%s has %d permissions, want %d", r.Name, len(have.Perm), len(r.Grants))
		}
	}
	_, err = raw.UserAddWithOptions(w.ctx, "keyorch-agent.dc9", "", &clientv3.UserAddOptions{NoPassword: true})
	must(t, err)
	_, err = raw.UserGrantRole(w.ctx, "keyorch-agent.dc9", "root")
	must(t, err)
	_, err = root.Admit(w.ctx, who(t, "keyorch-agent.dc9"))
	must(t, err)
	user, err := raw.UserGet(w.ctx, "keyorch-agent.dc9")
	must(t, err)
	if !slices.Equal(user.Roles, []string{"keyorch-agent.dc9"}) {
		t.Errorf("an agent has the roles %v", user.Roles)
	}
}

// Users that etcd does not take from certificates would lock everybody out.
func TestAnEtcdThatLocksEverybodyOutIsLeftAsItWas(t *testing.T) {
	w := start(t, false)
	root := w.open("root")
	for range 2 {
		_, err := root.PrepareAccess(w.ctx, nil, false)
		if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "--client-cert-auth") {
			t.Fatalf("it ends with %v", err)
		}
		if on, err := root.AuthEnabled(w.ctx); err != nil || on {
			t.Fatalf("auth is on: %v, %v", on, err)
		}
	}
	_, err := w.raw("root").Put(w.ctx, "x", "y")
	must(t, err)
}

func TestDeniedPreparingByAnybodyElse(t *testing.T) {
	w := start(t, true)
	_, err := w.open("keyorch-operator.alice").PrepareAccess(w.ctx, nil, false)
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "keyorch-operator.alice") {
		t.Errorf("before: %v", err)
	}
	root := w.open("root")
	_, err = root.PrepareAccess(w.ctx, []identity.Identity{who(t, "keyorch-operator.alice")}, false)
	must(t, err)
	alice := w.open("keyorch-operator.alice")
	for what, f := range map[string]func() error{
		"admitting": func() error { _, err := alice.Admit(w.ctx, identity.OfSite("dc2")); return err },
		"expelling": func() error { _, err := alice.Expel(w.ctx, identity.OfSite("dc2")); return err },
		"enrolling": func() error {
			_, err := alice.PutEnrolment(w.ctx, store.Enrolment{Identity: identity.OfSite("dc2")})
			return err
		},
	} {
		if err := f(); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "keyorch-operator.alice") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, f := range []func(identity.Identity) error{
		func(i identity.Identity) error { _, err := root.Admit(w.ctx, i); return err },
		func(i identity.Identity) error { _, err := root.Expel(w.ctx, i); return err },
	} {
		if err := f(identity.Identity{Role: identity.Admin}); !fault.Is(err, fault.Refused) {
			t.Errorf("root itself: %v", err)
		}
		if err := f(identity.Identity{Role: "x"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("nobody: %v", err)
		}
	}
}

// Whoever was enrolled by an earlier version has no inbox: preparing again gives it.
func TestPreparingAgainGivesEverybodyTheirInbox(t *testing.T) {
	w := prepared(t, "keyorch-operator.alice", "keyorch-agent.dc2")
	root, raw := w.open("root"), w.raw("root")
	for _, cn := range []string{"keyorch-operator.alice", "keyorch-agent.dc2"} {
		_, err := root.PutEnrolment(w.ctx, store.Enrolment{Identity: who(t, cn), Auth: identity.ByCertificate, At: time.Now(), By: "root"})
		must(t, err)
	}
	_, err := raw.RoleDelete(w.ctx, "keyorch-operator.alice/inbox")
	must(t, err)
	inbox := prefix + "/trail/inbox/keyorch-agent.dc2/"
	_, err = raw.RoleRevokePermission(w.ctx, "keyorch-agent.dc2", inbox, clientv3.GetPrefixRangeEnd(inbox))
	must(t, err)
	record := audit.Record{Kind: audit.Operator, Verb: "look"}
	for _, cn := range []string{"keyorch-operator.alice", "keyorch-agent.dc2"} {
		if err := w.open(cn).Append(w.ctx, record); !fault.Is(err, fault.Refused) {
			t.Errorf("%s without the right: %v", cn, err)
		}
	}
	_, err = root.PrepareAccess(w.ctx, nil, false)
	must(t, err)
	for _, cn := range []string{"keyorch-operator.alice", "keyorch-agent.dc2", "root"} {
		must(t, w.open(cn).Append(w.ctx, record))
	}
	_, err = root.Expel(w.ctx, who(t, "keyorch-operator.alice"))
	must(t, err)
	if _, err := raw.RoleGet(w.ctx, "keyorch-operator.alice/inbox"); err == nil {
		t.Error("the role of who was expelled is there still")
	}
}

func TestEnrolmentsAreWrittenOnceEach(t *testing.T) {
	w := prepared(t, "keyorch-operator.alice")
	root := w.open("root")
	none, err := root.Enrolment(w.ctx, identity.OfSite("dc2"))
	must(t, err)
	if none.Revision != 0 || none.Next() != identity.OfSite("dc2") {
		t.Fatalf("before: %+v", none)
	}
	first := store.Enrolment{Identity: identity.OfSite("dc2"), Auth: identity.ByCertificate, At: none.At.AddDate(2026, 0, 0), By: "root"}
	first.Revision, err = root.PutEnrolment(w.ctx, first)
	must(t, err)
	if _, err := root.PutEnrolment(w.ctx, none); !fault.Is(err, fault.Stale) {
		t.Fatalf("a second one from the same state: %v", err)
	}
	first.RevokedAt = first.At.AddDate(0, 1, 0)
	first.Revision, err = root.PutEnrolment(w.ctx, first)
	must(t, err)
	again := first
	again.RevokedAt = none.At
	if _, err := root.PutEnrolment(w.ctx, again); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "keyorch-agent-2.dc2") {
		t.Fatalf("the revoked one again: %v", err)
	}
	again.Identity = first.Next()
	_, err = root.PutEnrolment(w.ctx, again)
	must(t, err)
	all, err := w.open("keyorch-operator.alice").Enrolments(w.ctx)
	must(t, err)
	if len(all) != 1 || all[0].Identity.CommonName() != "keyorch-agent-2.dc2" {
		t.Fatalf("operators see %+v", all)
	}
}
