package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// judged wants one finding of f, in a state and with some words.
func judged(t *testing.T, what string, f func(*about), state State, words string) {
	t.Helper()
	var a about
	f(&a)
	for _, one := range a.found {
		if one.State == state && strings.Contains(one.What, words) {
			if (state == Warn || state == Fail) && one.Mend == "" {
				t.Errorf("%s: nothing says how to mend %q", what, one.What)
			}
			return
		}
	}
	t.Errorf("%s: want %s %q, got %+v", what, state, words, a.found)
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestClocks(t *testing.T) {
	for _, c := range []struct {
		theirs, took time.Duration
		state        State
		words        string
	}{
		{0, 0, OK, "within 2 seconds"},
		{-2900 * time.Millisecond, 0, OK, "within"},
		{4 * time.Second, 0, Warn, "4 seconds ahead of"},
		{4 * time.Second, 4 * time.Second, OK, "within"}, // nobody knows when it was read
		{-10 * time.Second, time.Second, Warn, "10 seconds behind"},
		{time.Hour, 0, Fail, "60 minutes ahead of"},
		{-72 * time.Hour, 0, Fail, "3 days behind"},
	} {
		judged(t, c.theirs.String(), func(a *about) { judgeClock(a, "clock", noon.Add(c.theirs), noon, noon.Add(c.took)) }, c.state, c.words)
	}
}

func TestLivesOfCertificates(t *testing.T) {
	for _, c := range []struct {
		life, gone time.Duration
		state      State
	}{
		{24 * time.Hour, 12 * time.Hour, OK},
		{24 * time.Hour, 20 * time.Hour, OK}, // 5/6: it is about to be renewed
		{24 * time.Hour, 22 * time.Hour, Warn},
		{365 * 24 * time.Hour, 300 * 24 * time.Hour, OK},
		{365 * 24 * time.Hour, 359 * 24 * time.Hour, Warn},
	} {
		judged(t, c.gone.String(), func(a *about) { judgeLife(a, noon.Add(-c.gone), noon.Add(c.life-c.gone), noon) }, c.state, "valid until")
	}
}

func TestTokensAndPolicies(t *testing.T) {
	judged(t, "endless", func(a *about) { judgeToken(a, custody.Token{}) }, Warn, "never ends")
	judged(t, "short", func(a *about) { judgeToken(a, custody.Token{Left: time.Minute}) }, Warn, "cannot be renewed")
	judged(t, "good", func(a *about) { judgeToken(a, custody.Token{Left: time.Minute, Renewable: true}) }, OK, "good for")
	dc2 := person{identity.OfSite("dc2"), true}
	for _, c := range []struct {
		policies string
		state    State
		words    string
	}{
		{"keyorch-agent.dc2 keyorch-certificate.keyorch-agent.dc2", OK, "agree"},
		{"keyorch-agent.dc1", Fail, "not keyorch-agent.dc2"},
		{"root", Fail, "Vault's own root"},
		{"keyorch-agent.dc2 team-x", Warn, "team-x"},
		{"", Fail, "not keyorch-agent.dc2"},
	} {
		judged(t, c.policies, func(a *about) { judgePolicies(a, dc2, strings.Fields(c.policies)) }, c.state, c.words)
	}
	root := person{identity.Identity{Role: identity.Admin}, true}
	judged(t, "administrator", func(a *about) { judgePolicies(a, root, []string{"root"}) }, OK, "everything")
}

func TestRightsAndKeys(t *testing.T) {
	dc2 := person{identity.OfSite("dc2"), true}
	judged(t, "missing", func(a *about) { judgeRights(a, dc2, 4, []string{"reads /a", "reads /b", "reads /c", "reads /d"}, nil) }, Fail, "reads /c; and 1 more")
	judged(t, "excess", func(a *about) { judgeRights(a, dc2, 4, nil, []string{"writes /x"}) }, Fail, "must not: writes /x")
	judged(t, "right", func(a *about) { judgeRights(a, dc2, 4, nil, nil) }, OK, "all 4")
	for want, answers := range map[string]map[custody.Answer][]string{
		"may not open keyorch-site-dc2":     {custody.Denied: {"keyorch-site-dc2"}},
		"Vault has no key keyorch-site-dc2": {custody.Missing: {"keyorch-site-dc2"}},
	} {
		judged(t, want, func(a *about) { judgeKEKs(a, dc2, "open", 2, answers) }, Fail, want)
	}
	judged(t, "all", func(a *about) { judgeKEKs(a, dc2, "open", 2, nil) }, OK, "all 2")
}

func TestTrails(t *testing.T) {
	for _, c := range []struct {
		head  audit.Head
		state State
		words string
	}{
		{audit.Head{}, Warn, "none yet"},
		{audit.Head{Seq: 5, Segment: audit.Segment{At: noon.Add(-time.Minute)}}, OK, "signed"},
		{audit.Head{Seq: 5, Segment: audit.Segment{At: noon.Add(-time.Hour)}}, Warn, "nobody has signed it for 60 minutes"},
		{audit.Head{Seq: 5, Signed: 5, SignedAt: noon.Add(-10 * time.Minute)}, OK, "signed"},
		{audit.Head{Seq: 5, Signed: 5, SignedAt: noon.Add(-20 * time.Minute)}, Warn, "for 20 minutes"},
		{audit.Head{Seq: 5, Signed: 5, SignedAt: noon, Breaks: []audit.Break{{At: noon, What: "record 3 is missing"}}}, Warn, "record 3 is missing"},
	} {
		judged(t, c.words, func(a *about) { judgeTrail(a, c.head, noon) }, c.state, c.words)
	}
}

func TestWorkers(t *testing.T) {
	for _, c := range []struct {
		what    string
		polls   []poll
		current string
		state   State
		words   string
	}{
		{"nobody", nil, "", Warn, "no worker"},
		{"nobody, with a version", nil, "v1", Warn, "no worker"},
		{"one", []poll{{"a", ""}}, "", OK, "1 asks"},
		{"two versions", []poll{{"a", "v1"}, {"b", "v2"}}, "v2", OK, "version v2 is current"},
		{"the current one is gone", []poll{{"a", "v1"}}, "v2", Fail, "version v2 is current, and no worker"},
		{"none is current", []poll{{"a", "v1"}}, "", Fail, "none is current"},
	} {
		judged(t, c.what, func(a *about) { judgeWorkers(a, c.polls, c.current) }, c.state, c.words)
	}
}

func TestFleets(t *testing.T) {
	network := topology.Topology{Nodes: []topology.Node{{Name: "a", Site: "dc1"}, {Name: "b", Site: "dc2"}}}
	site := func(s keychain.SiteID, revoked time.Time) store.Enrolment {
		return store.Enrolment{Identity: identity.OfSite(s), RevokedAt: revoked}
	}
	here := func(nodes ...keychain.NodeID) map[keychain.NodeID]store.Agent {
		m := map[keychain.NodeID]store.Agent{}
		for _, n := range nodes {
			m[n] = store.Agent{Version: "v1"}
		}
		return m
	}
	both := []store.Enrolment{site("dc1", time.Time{}), site("dc2", time.Time{})}
	for _, c := range []struct {
		what  string
		f     facts
		state State
		words string
	}{
		{"all there", facts{enrolled: both, agents: here("a", "b")}, OK, "2 nodes are declared"},
		{"one away", facts{enrolled: both, agents: here("a")}, Warn, "no agent serves b of dc2"},
		{"one not enrolled", facts{enrolled: both[:1], agents: here("a", "b")}, Warn, "nobody is enrolled for b of dc2"},
		{"one revoked and there", facts{enrolled: []store.Enrolment{both[0], site("dc2", noon)}, agents: here("a", "b")}, Fail, "revoked still serves b of dc2"},
		{"its node is enrolled", facts{enrolled: []store.Enrolment{both[0], site("dc2", noon),
			{Identity: identity.Identity{Role: identity.Agent, Site: "dc2", Node: "b"}}}, agents: here("a", "b")}, OK, "2 nodes"},
		{"a broken document", facts{broken: []error{fault.New(fault.Mismatch, "read /x: the document is broken: mend or delete it with etcdctl")}}, Fail, "the document is broken"},
	} {
		c.f.topology = network
		judged(t, c.what, func(a *about) { c.f.judge(a, "v1") }, c.state, c.words)
	}
	judged(t, "versions", func(a *about) { judgeVersions(a, map[string]int{"v1": 2, "v2": 1}, "v2") }, Warn, "v1 (2); v2 (1)")
}

func TestWordsAreTakenApart(t *testing.T) {
	for text, want := range map[string][2]string{
		"read the certificate for etcd: /x expired at 2026: have it renewed, or enrol and join again":       {"read the certificate for etcd: /x expired at 2026", "have it renewed, or enrol and join again"},
		"/k may be read or changed by others (mode 0644): run chmod 600 /k":                                 {"/k may be read or changed by others (mode 0644)", "run chmod 600 /k"},
		"vault refuses x: nothing is mounted at y: run keyorch bootstrap, or check VAULT_NAMESPACE: always": {"vault refuses x: nothing is mounted at y", "run keyorch bootstrap, or check VAULT_NAMESPACE: always"},
		"etcd at z: its authority is another: is it the right etcd? then put it there":                      {"etcd at z: its authority is another", "is it the right etcd? then put it there"},
		"something": {"something", ""},
	} {
		if what, mend := words(errors.New(text)); what != want[0] || mend != want[1] {
			t.Errorf("%q is taken apart to %q and %q", text, what, mend)
		}
	}
	for _, r := range remedies() {
		if what, mend := words(errors.New("reach it: " + r.says)); mend == "" || what != "reach it: "+r.says {
			t.Errorf("%q: %q", r.says, mend)
		}
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	fail := func(k fault.Kind) Finding { return Finding{State: Fail, kind: k} }
	for _, c := range []struct {
		found []Finding
		want  fault.Kind
		bad   bool
	}{
		{nil, 0, false},
		{[]Finding{{State: Warn}, {State: OK}, {State: Skipped}}, 0, false},
		{[]Finding{fail(fault.Unavailable), fail(fault.Refused)}, fault.Refused, true},
		{[]Finding{fail(fault.Unavailable), fail(fault.Invalid), fail(fault.Refused)}, fault.Invalid, true},
		{[]Finding{fail(fault.Unavailable), {State: Warn, kind: fault.Invalid}}, fault.Unavailable, true},
	} {
		if got, bad := Worst(c.found); got != c.want || bad != c.bad {
			t.Errorf("%+v: %v %v", c.found, got, bad)
		}
	}
	var a about
	a.failed("x", errors.New("nobody knows"))
	if k, bad := Worst(a.found); !bad || k != fault.Unavailable {
		t.Errorf("a failure of no kind: %v %v", k, bad)
	}
}

func TestVersions(t *testing.T) {
	for v, old := range map[string]bool{"3.4.30": true, "3.5.0": false, "v3.7.3": false, "4.0": false, "": false, "2.9": true} {
		if older(v, 3, 5) != old {
			t.Errorf("%s: %v", v, !old)
		}
	}
}
