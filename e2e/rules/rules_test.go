package rules_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/keyorch/keyorch/e2e/rules"
	"github.com/keyorch/keyorch/link"
)

// run lets a rule rotate in simulated time.
func run(t *testing.T, rule rules.Rule, in rules.Scenario) (r rules.Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = rules.Run(t.Context(), rule, in); err != nil {
			t.Fatal(err)
		}
	})
	s := r.Stats
	if s.InFlight != 0 || s.Silent != 0 || s.Sent != s.Delivered+s.Lost.Total() {
		t.Errorf("%s, %s: packets are missing: %+v", rule.Name, in.Name, s)
	}
	if s.Lost.NoKey != s.Lost.Total() {
		t.Errorf("%s, %s: packets were lost for another reason than a key: %+v", rule.Name, in.Name, s.Lost)
	}
	return r
}

// The rules of others, each with the troubles in which it loses packets, or in
// which links stand still that have nothing wrong. In the others it does as well
// as keyorch, and that is asserted too: a rule that is modelled worse than it is
// would fail here.
var suffers = map[string]struct{ loses, stalls []string }{
	"switch after a timer (6 s)":       {loses: []string{"slow", "dead", "flapping", "all three"}},
	"retire after a timer (5 min)":     {loses: []string{"dead", "flapping", "all three"}},
	"global gate, no maximum wait":     {stalls: []string{"dead", "all three"}},
	"global gate, maximum wait 10 min": {loses: []string{"dead", "all three"}},
	"twice a fixed delay (2 x 15 s)":   {loses: []string{"slow", "dead", "flapping", "all three"}},
	"one period behind, ring of three": {loses: []string{"dead", "all three"}},
	"every receiver confirms first":    {},
}

// TestRules prints the table of docs/benchmarks.md (go test -v -run TestRules).
func TestRules(t *testing.T) {
	var all []rules.Result
	for _, rule := range rules.Rules() {
		want, known := suffers[rule.Name]
		if !known {
			t.Errorf("%s: nothing is expected of it", rule.Name)
		}
		for _, in := range rules.Scenarios() {
			r := run(t, rule, in)
			all = append(all, r)
			if lost := r.Stats.Lost.Total(); lost > 0 != slices.Contains(want.loses, in.Name) {
				t.Errorf("%s, %s: it lost %d packets", rule.Name, in.Name, lost)
			}
			if r.Stalled() != slices.Contains(want.stalls, in.Name) {
				t.Errorf("%s, %s: %d links that have nothing wrong never changed key", rule.Name, in.Name, r.Elsewhere)
			}
			if !in.Dead && r.Behind > 0 {
				t.Errorf("%s, %s: %d links are not on the newest key though no branch is dead", rule.Name, in.Name, r.Behind)
			}
		}
	}
	if testing.Verbose() {
		fmt.Println(rules.Table(all))
	}
}

// keyorch holds the two links of the dead branch, and nothing else, on the key
// that both ends have; they carry traffic to the end.
func TestKeyorchHoldsOnlyTheDead(t *testing.T) {
	all := rules.Rules()
	for _, in := range rules.Scenarios() {
		r := run(t, all[len(all)-1], in)
		held := 0
		if in.Dead {
			held = 2
		}
		if r.Never != held || r.Behind != held || r.Silent != 0 || r.Stats.Lost.Total() != 0 {
			t.Errorf("%s: %d links never changed key, %d are behind, want %d; %d without traffic; %d packets lost",
				in.Name, r.Never, r.Behind, held, r.Silent, r.Stats.Lost.Total())
		}
	}
}

// Without one of its protections keyorch's rule loses packets here, so that none
// lost means something.
func TestTeeth(t *testing.T) {
	for name, orders := range map[string]func(link.State) []link.Order{
		"the sender does not wait for the receiver": func(s link.State) []link.Order {
			if s.Phase == link.Staging {
				s.Phase = link.Switching
			}
			return link.Orders(s)
		},
		"the receiver does not wait for the sender": func(s link.State) []link.Order {
			if s.Phase == link.Switching {
				s.Phase = link.Retiring
			}
			return link.Orders(s)
		},
	} {
		for _, in := range rules.Scenarios()[1:] {
			if r := run(t, rules.Broken(name, orders), in); r.Stats.Lost.Total() == 0 {
				t.Errorf("%s, %s: nothing was lost", name, in.Name)
			}
		}
	}
}
