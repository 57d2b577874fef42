package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
)

// Who has written a request or a vote is in its key alone, and a request that was
// changed is not there.
func TestRequestsAreWhatTheirKeysSay(t *testing.T) {
	s := &Store{keys: layout{DefaultPrefix}}
	v := &View{s: s, declared: make(declared), broken: make(map[string]error)}
	v.forgetFacts()
	n := nothing()
	put := func(key string, doc any) {
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		v.put(entry{key: key, value: b, mod: 5}, &n)
	}
	const otto, anna = "keyorch-operator.otto", "keyorch-operator.anna"
	r := approval.NewRequest(approval.Plan{Verb: approval.Compromise, Requester: otto}, time.Now(), time.Hour)
	changed := r
	changed.Plan.Reason = "another"
	put(s.keys.request(otto, r.ID()), changed)
	if _, ok := v.Asked(r.ID()); ok || len(v.Broken()) != 1 {
		t.Error("a request stands under the ID of another")
	}
	put(s.keys.request(anna, r.ID()), r) // in the name of otto
	a, ok := v.Asked(r.ID())
	if d := a.Decide(v.Rules(), time.Now()); !ok || a.By != anna || d.State != approval.Rejected {
		t.Errorf("a request in the name of another is %s", d.State)
	}
	put(s.keys.request(otto, r.ID()), r)
	v.remove(s.keys.request(anna, r.ID()), &n)
	put(s.keys.vote(anna, r.ID()), map[string]string{"By": otto, "by": otto, "signature": "x"})
	if a, _ = v.Asked(r.ID()); a.By != otto || len(a.Votes) != 1 || a.Votes[0].By != anna {
		t.Errorf("read as %+v", a)
	}
	put(s.keys.ended(r.ID()), approval.End{ID: r.ID(), State: approval.Used})
	if a, _ = v.Asked(r.ID()); a.Ended == nil || len(v.AllAsked()) != 1 {
		t.Errorf("the end is not seen: %+v", a)
	}
}

// Rules that cannot be read stop everything that may need approvals.
func TestBrokenRulesRefuse(t *testing.T) {
	s := &Store{keys: layout{DefaultPrefix}}
	for _, doc := range []string{`{`, `[]`, `{"rules":[{"name":"r","verbs":["compromise"],"approvals":0,"approvers":[],"deadline":1}]}`} {
		v := &View{s: s, declared: make(declared), broken: make(map[string]error)}
		v.forgetFacts()
		n := nothing()
		v.put(entry{key: s.keys.rulesInForce(), value: []byte(doc), mod: 5}, &n)
		need := approval.Need{Plan: approval.Plan{Verb: approval.RotateForced}}
		if _, why := v.Rules().Consent(need, "", v.Asked, time.Now()); why == "" || !v.Rules().Asks(need) || len(v.Broken()) != 1 {
			t.Errorf("%s: nothing is refused", doc)
		}
	}
}

func TestRequestsAreForgottenLongAfterTheirEnd(t *testing.T) {
	l := layout{DefaultPrefix}
	now := time.Now()
	for age, want := range map[time.Duration]bool{0: false, 119 * 24 * time.Hour: false, 121 * 24 * time.Hour: true} {
		r := approval.NewRequest(approval.Plan{Verb: approval.Compromise}, now.Add(-age), time.Hour)
		if got := old(l.request("cn", r.ID()), l.requestsOf("cn"), now); got != want {
			t.Errorf("after %v: %v", age, got)
		}
	}
	if old(l.request("cn", "something"), l.requestsOf("cn"), now) {
		t.Error("what is no request is forgotten")
	}
}
