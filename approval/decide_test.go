package approval_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
)

const anna, ben, carl = "keyorch-operator.anna", "keyorch-operator.ben", "keyorch-operator.carl"

func TestDecide(t *testing.T) {
	annas, bens, foreign := approvaltest.Ed25519(t), approvaltest.SK(t, approvaltest.Touched), approvaltest.Ed25519(t)
	request := someRequest()
	over := request.Statement().Bytes()
	other := someRequest()
	other.Plan.Reason = "another reason"
	vote := func(by string, p approvaltest.Pen, message []byte) approval.Vote {
		return approval.Vote{By: by, At: asked().Add(time.Minute), Signature: p.Over(message)}
	}
	yes := vote(anna, annas, over)
	for name, c := range map[string]struct {
		needed  int
		votes   []approval.Vote
		change  func(*approval.Request, *approval.Rule)
		after   time.Duration
		want    approval.State
		refused string // of the one vote that does not count
		reason  string
	}{
		"nobody has signed":      {needed: 1, want: approval.Wanted},
		"one of one":             {needed: 1, votes: []approval.Vote{yes}, want: approval.Approved},
		"one of two":             {needed: 2, votes: []approval.Vote{yes}, want: approval.Wanted},
		"two of two":             {needed: 2, votes: []approval.Vote{yes, vote(ben, bens, over)}, want: approval.Approved},
		"the next generation":    {needed: 1, votes: []approval.Vote{vote("keyorch-operator-2.anna", annas, over)}, want: approval.Approved},
		"one person twice":       {needed: 2, votes: []approval.Vote{yes, vote("keyorch-operator-2.anna", annas, over)}, want: approval.Wanted},
		"at the last moment":     {needed: 1, votes: []approval.Vote{yes}, after: time.Hour - 1, want: approval.Approved},
		"expired, signed":        {needed: 1, votes: []approval.Vote{yes}, after: time.Hour, want: approval.Expired},
		"expired, not signed":    {needed: 1, after: time.Hour, want: approval.Expired},
		"for another plan":       {needed: 1, votes: []approval.Vote{vote(anna, annas, other.Statement().Bytes())}, want: approval.Wanted, refused: "not over this statement"},
		"by an unlisted key":     {needed: 1, votes: []approval.Vote{vote(anna, foreign, over)}, want: approval.Wanted, refused: "not listed"},
		"by somebody for anna":   {needed: 1, votes: []approval.Vote{vote(ben, annas, over)}, want: approval.Wanted, refused: "the key is anna's"},
		"by no operator":         {needed: 1, votes: []approval.Vote{vote("keyorch-auditor.anna", annas, over)}, want: approval.Wanted, refused: "the key is anna's"},
		"no signature":           {needed: 1, votes: []approval.Vote{{By: anna, Signature: "yes"}}, want: approval.Wanted, refused: "no signature"},
		"rejected":               {needed: 1, votes: []approval.Vote{vote(ben, bens, over), {By: anna, Rejected: "not\nnow"}}, want: approval.Rejected, reason: `anna rejects it: "not\nnow"`},
		"rejected by a stranger": {needed: 1, votes: []approval.Vote{yes, {By: carl, Rejected: "no"}}, want: approval.Approved},
		"one's own": {needed: 1, votes: []approval.Vote{yes}, want: approval.Wanted, refused: "their own request",
			change: func(r *approval.Request, _ *approval.Rule) { r.Plan.Requester = anna }},
		"one's own key, by another hand": {needed: 1, votes: []approval.Vote{vote(ben, annas, over)}, want: approval.Wanted, refused: "their own request",
			change: func(r *approval.Request, _ *approval.Rule) { r.Plan.Requester = anna }},
		"touch wanted, a key in a file": {needed: 1, votes: []approval.Vote{yes}, want: approval.Wanted, refused: "was touched",
			change: func(_ *approval.Request, r *approval.Rule) { r.Touch = true }},
		"touch wanted, hardware": {needed: 1, votes: []approval.Vote{vote(ben, bens, over)}, want: approval.Approved,
			change: func(_ *approval.Request, r *approval.Rule) { r.Touch = true }},
		"PIN wanted, only touched": {needed: 1, votes: []approval.Vote{vote(ben, bens, over)}, want: approval.Wanted, refused: "PIN",
			change: func(_ *approval.Request, r *approval.Rule) { r.PIN = true }},
		"PIN wanted, touched and unlocked": {needed: 1, votes: []approval.Vote{vote(ben, bens.Saying(approvaltest.WithPIN), over)}, want: approval.Approved,
			change: func(_ *approval.Request, r *approval.Rule) { r.PIN = true }},
		"asked tomorrow": {needed: 1, votes: []approval.Vote{yes}, want: approval.Rejected, reason: "to come",
			change: func(r *approval.Request, _ *approval.Rule) {
				r.At, r.Expires = r.At.Add(24*time.Hour), r.Expires.Add(24*time.Hour)
			}},
		"good for too long": {needed: 1, votes: []approval.Vote{yes}, want: approval.Rejected, reason: "the rules give it",
			change: func(r *approval.Request, _ *approval.Rule) { r.Expires = r.Expires.Add(time.Second) }},
		"ends before it begins": {needed: 1, votes: []approval.Vote{yes}, want: approval.Rejected, reason: "before it was asked",
			change: func(r *approval.Request, _ *approval.Rule) { r.Expires = r.At }},
	} {
		t.Run(name, func(t *testing.T) {
			r, rule := request, someRule(c.needed, annas, bens)
			if c.change != nil {
				c.change(&r, &rule)
			}
			d := approval.Decide(r, []approval.Rule{rule}, c.votes, asked().Add(c.after))
			if d.State != c.want || !strings.Contains(d.Reason, c.reason) {
				t.Fatalf("%s: %q, want %s: %q (%+v)", d.State, d.Reason, c.want, c.reason, d)
			}
			switch {
			case c.refused == "" && len(d.Refused) > 0:
				t.Errorf("refused %+v", d.Refused)
			case c.refused != "" && (len(d.Refused) != 1 || !strings.Contains(d.Refused[0].Reason, c.refused)):
				t.Errorf("refused %+v, want %q", d.Refused, c.refused)
			}
			if (d.Missing() == "") != (c.want == approval.Approved || d.Rules == nil || len(d.Rules[0].By) >= c.needed) {
				t.Errorf("missing %q", d.Missing())
			}
		})
	}
}

// Rules that cannot be read approve nothing, though none of them asks.
func TestBrokenRulesApproveNothing(t *testing.T) {
	r := someRequest()
	a, broken := approval.Asked{Request: r, By: requester}, approval.InForce{Broken: true, Revision: 5}
	for after, want := range map[time.Duration]approval.State{0: approval.Wanted, 2 * time.Hour: approval.Expired} {
		if d := a.Decide(broken, asked().Add(after)); d.State != want || !strings.Contains(d.Reason, "cannot be read") {
			t.Errorf("after %v: %s: %q, want %s", after, d.State, d.Reason, want)
		}
	}
}

// Every rule that asks must be satisfied.
func TestAllRulesMustBeSatisfied(t *testing.T) {
	annas, bens := approvaltest.Ed25519(t), approvaltest.Ed25519(t)
	r := someRequest()
	only := func(name, who string, p approvaltest.Pen) approval.Rule {
		rule := someRule(1, annas, bens)
		rule.Name, rule.Approvers = name, []approval.Approver{{Name: who, Keys: []string{p.Line()}}}
		return rule
	}
	rules := []approval.Rule{only("a", "anna", annas), only("b", "ben", bens)}
	one := []approval.Vote{{By: anna, Signature: annas.Over(r.Statement().Bytes())}}
	two := append(one, approval.Vote{By: ben, Signature: bens.Over(r.Statement().Bytes())})
	if d := approval.Decide(r, rules, one, asked()); d.State != approval.Wanted || len(d.Refused) != 0 || d.Missing() != "1 more of ben (rule b)" {
		t.Errorf("one of two: %+v, missing %q", d, d.Missing())
	}
	if d := approval.Decide(r, rules, two, asked()); d.State != approval.Approved {
		t.Errorf("both: %+v", d)
	}
}

func TestARuleApprovesItsOwnEnd(t *testing.T) {
	a := someRule(1, approvaltest.Ed25519(t), approvaltest.Ed25519(t))
	b := a
	b.Name, b.Verbs = "b", []approval.Verb{approval.Compromise}
	changes := func(c ...approval.Change) approval.Plan { return approval.Plan{Verb: approval.Rules, Changes: c} }
	names := func(rules []approval.Rule) (out []string) {
		for _, r := range rules {
			out = append(out, r.Name)
		}
		return out
	}
	for _, c := range []struct {
		plan approval.Plan
		want []string
	}{
		{approval.Plan{Verb: approval.Compromise}, []string{"b"}},
		{approval.Plan{Verb: approval.Revoke}, nil},
		{approval.Plan{Verb: approval.Revoke, Links: []approval.Link{{Name: "dc1-dc2"}}}, []string{"b"}}, // it gives new keys
		{changes(approval.Change{What: a.What(), Before: "{}"}), []string{"two"}},
		{changes(approval.Change{What: a.What(), Before: "{}", After: "{1}"}, approval.Change{What: b.What(), Before: "{}"}), []string{"two", "b"}},
		{changes(approval.Change{What: "ApprovalRule new", After: "{}"}), nil},
	} {
		if got := names(approval.Asking([]approval.Rule{a, b}, c.plan)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.plan, got, c.want)
		}
	}
}

func TestNotices(t *testing.T) {
	annas, bens := approvaltest.Ed25519(t), approvaltest.Ed25519(t)
	r, rules := someRequest(), []approval.Rule{someRule(1, annas, bens)}
	at := func(after time.Duration, votes ...approval.Vote) (out []string) {
		now := asked().Add(after)
		for _, n := range approval.Notices(r, rules, approval.Decide(r, rules, votes, now), now) {
			out = append(out, string(n.Kind)+" "+n.At.Sub(asked()).String()+" "+strings.Join(n.To, "+"))
		}
		return out
	}
	all := []string{"approval wanted 0s anna", "reminder 10m0s anna", "reminder 20m0s anna+ben", "escalated 20m0s ben", "reminder 30m0s anna+ben",
		"reminder 40m0s anna+ben", "expiring 45m0s anna+ben", "reminder 50m0s anna+ben", "expired 1h0m0s anna+ben"}
	if got := at(2 * time.Hour); !slices.Equal(got, all) {
		t.Errorf("in the end %q", got)
	}
	if got := at(25 * time.Hour); !slices.Equal(got, all) {
		t.Errorf("a day after the end %q", got)
	}
	if got := at(25*time.Hour + 1); got != nil {
		t.Errorf("later than that %q", got)
	}
	if got := at(29 * time.Minute); !slices.Equal(got, all[:4]) {
		t.Errorf("after 29m %q", got)
	}
	if got := at(29*time.Minute, approval.Vote{By: ben, Signature: bens.Over(r.Statement().Bytes())}); got != nil {
		t.Errorf("approved: %q", got)
	}
	if got := at(29*time.Minute, approval.Vote{By: ben, Rejected: "no"}); got != nil {
		t.Errorf("rejected: %q", got)
	}
	keys := map[string]bool{}
	for _, n := range approval.Notices(r, rules, approval.Decide(r, rules, nil, asked().Add(time.Hour)), asked().Add(time.Hour)) {
		if keys[n.Key] {
			t.Errorf("%s twice", n.Key)
		}
		keys[n.Key] = true
	}
}

func TestNoticesOfRulesThatTakeTheirTime(t *testing.T) {
	r, rule := someRequest(), someRule(1, approvaltest.Ed25519(t), approvaltest.Ed25519(t))
	rule.Approvals = 2
	rule.RemindAfter, rule.EscalateAfter = 100_000*time.Hour, 20*time.Hour // a hundred reminders later, no time.Duration holds it
	now := asked().Add(2 * time.Hour)
	var got []string
	for _, n := range approval.Notices(r, []approval.Rule{rule}, approval.Decide(r, []approval.Rule{rule}, nil, now), now) {
		got = append(got, string(n.Kind)+" "+strings.Join(n.To, "+"))
	}
	if want := []string{"approval wanted anna+ben", "expiring anna+ben", "expired anna+ben"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
