package store

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
)

// told is a view that has what is put.
func told(t *testing.T) (s *Store, v *View, put func(key string, doc any)) {
	t.Helper()
	s = &Store{keys: layout{DefaultPrefix}}
	v = &View{s: s, declared: make(declared), broken: make(map[string]error)}
	v.forgetFacts()
	n := nothing()
	put = func(key string, doc any) {
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		v.put(entry{key: key, value: b, mod: 5}, &n)
	}
	return s, v, put
}

// Who has written a request or a vote is in its key alone, and a request that was
// changed is not there.
func TestRequestsAreWhatTheirKeysSay(t *testing.T) {
	s, v, put := told(t)
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
	v.remove(s.keys.request(anna, r.ID()), new(nothing()))
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

// Somebody's requests go when they are old, and those that are over when there are many;
// never one that could still be approved.
func TestRequestsAreForgottenWhenTheyAreOver(t *testing.T) {
	l := layout{DefaultPrefix}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	own := l.requestsOf("cn")
	aged := func(days ...int) (entries []entry) {
		for _, d := range days {
			r := approval.NewRequest(approval.Plan{Verb: approval.Compromise, Reason: strconv.Itoa(len(entries))}, now.AddDate(0, 0, -d), time.Hour)
			entries = append(entries, entry{key: l.request("cn", r.ID())})
		}
		return entries
	}
	many := func(days int) []int { return slices.Repeat([]int{days}, keptOwn) }
	for name, c := range map[string]struct {
		days []int
		want int
	}{
		"few":                          {[]int{119, 40, 0}, 0},
		"an old one":                   {[]int{122, 119, 0}, 1},
		"many, two more than are kept": {append([]int{60, 50}, many(0)...), 2},
		"many that are not over":       {append([]int{30, 20}, many(0)...), 0},
		"all are old":                  {many(130), keptOwn},
	} {
		entries := aged(c.days...)
		var want []string
		for _, e := range entries[:c.want] {
			want = append(want, e.key)
		}
		if got := needless(entries, own, now); !slices.Equal(got, want) {
			t.Errorf("%s: %q go, want %q", name, got, want)
		}
	}
	if got := needless([]entry{{key: own.from + "something"}}, own, now); got != nil {
		t.Errorf("what is no request is forgotten: %q", got)
	}
}

// The end of a request is remembered until nobody can make use of it, and for as long as it
// says what became of one that is there.
func TestEndsAreRememberedAsLongAsTheyAreNeeded(t *testing.T) {
	s, v, put := told(t)
	const otto = "keyorch-operator.otto"
	asked := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := approval.NewRequest(approval.Plan{Verb: approval.Compromise, Requester: otto}, asked, approval.MaxDeadline)
	put(s.keys.ended(r.ID()), approval.End{ID: r.ID(), State: approval.Used})
	if got := v.EndsOver(asked.Add(approval.MaxDeadline)); got != nil {
		t.Errorf("in time to be used again, %q may be forgotten", got)
	}
	later := asked.Add(approval.MaxDeadline + 48*time.Hour)
	if got := v.EndsOver(later); !slices.Equal(got, []string{r.ID()}) {
		t.Errorf("of one that is over, %q may be forgotten", got)
	}
	put(s.keys.request(otto, r.ID()), r)
	if got := v.EndsOver(later); got != nil {
		t.Errorf("of one that is there, %q may be forgotten", got)
	}
}
