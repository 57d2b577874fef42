package approval

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
)

// Rule asks for approvals of some verbs. Where several ask for those of one, all of
// them must be satisfied.
type Rule struct {
	Name  string `json:"name"`
	Verbs []Verb `json:"verbs"`
	// Approvals is how many different approvers must sign, at least one.
	Approvals int `json:"approvals"`
	// Approvers are who may, in the order in which they are asked.
	Approvers []Approver `json:"approvers"`
	// Touch wants hardware keys, which were touched for the signature, and PIN hardware
	// keys that were unlocked for it, too.
	Touch bool `json:"touch,omitempty"`
	PIN   bool `json:"pin,omitempty"`
	// Deadline is how long a request is good. RemindAfter is how long after the request,
	// and after each reminder, the next one is due, EscalateAfter the same for asking one
	// more approver; zero: never.
	Deadline      time.Duration `json:"deadline"`
	RemindAfter   time.Duration `json:"remindAfter,omitempty"`
	EscalateAfter time.Duration `json:"escalateAfter,omitempty"`
}

// Approver is a person and the public keys, as in a .pub file, that are theirs. Name is
// the one under which the person is enrolled as an operator.
type Approver struct {
	Name string   `json:"name"`
	Keys []string `json:"keys"`
}

// The times of a rule that says nothing else, and the longest deadline.
const (
	DefaultDeadline      = 24 * time.Hour
	DefaultRemindAfter   = time.Hour
	DefaultEscalateAfter = 4 * time.Hour
	MaxDeadline          = 30 * 24 * time.Hour
	// MinDeadline is the shortest time in which somebody can read and sign.
	MinDeadline = time.Minute
)

// The most that a rule, and the rules together, may have.
const (
	maxApprovers = 100
	maxKeys      = 10
)

// Problem is something wrong with a rule: in which field, as in approvers[0].keys[1],
// what, and what to do about it.
type Problem struct{ Field, Message, Hint string }

// Problems gives everything that is wrong with a rule by itself.
func (r Rule) Problems() []Problem {
	c := checker{rule: r}
	c.verbs()
	c.approvers()
	if r.Approvals < 1 {
		c.say("approvals", fmt.Sprintf("%d approvals are none", r.Approvals), "write at least 1")
	}
	if n := len(r.Approvers); r.Approvals > n && n > 0 {
		c.say("approvals", fmt.Sprintf("%d approvals cannot come from %s", r.Approvals, people(n)), "name more approvers, or ask for fewer approvals")
	}
	if r.Deadline < MinDeadline || r.Deadline > MaxDeadline {
		c.say("deadline", fmt.Sprintf("a deadline of %v is not between %v and %v", r.Deadline, MinDeadline, MaxDeadline), "write a time as in 24h")
	}
	for _, t := range []struct {
		field string
		time  time.Duration
	}{{"remindAfter", r.RemindAfter}, {"escalateAfter", r.EscalateAfter}} {
		if t.time < 0 || t.time > 0 && t.time < MinDeadline {
			c.say(t.field, fmt.Sprintf("%v is shorter than %v", t.time, MinDeadline), "write a time as in 1h, or 0s for never")
		}
	}
	return c.found
}

type checker struct {
	rule  Rule
	found []Problem
}

func (c *checker) say(field, message, hint string) {
	c.found = append(c.found, Problem{Field: field, Message: message, Hint: hint})
}

func (c *checker) verbs() {
	var known []string
	for _, v := range Verbs() {
		known = append(known, string(v))
	}
	if len(c.rule.Verbs) == 0 {
		c.say("verbs", "the rule is for no verb", "the verbs are "+strings.Join(known, ", "))
	}
	for i, v := range c.rule.Verbs {
		at := fmt.Sprintf("verbs[%d]", i)
		if !slices.Contains(Verbs(), v) {
			c.say(at, fmt.Sprintf("there is no verb %.40q that could need approvals", string(v)), "the verbs are "+strings.Join(known, ", "))
		}
		if j := slices.Index(c.rule.Verbs, v); j < i {
			c.say(at, fmt.Sprintf("%s is already at [%d]", v, j), "remove one of the two")
		}
	}
}

func (c *checker) approvers() {
	if n := len(c.rule.Approvers); n == 0 || n > maxApprovers {
		c.say("approvers", fmt.Sprintf("the rule has %s", people(n)), fmt.Sprintf("name from 1 to %d", maxApprovers))
	}
	type place struct{ field, of string }
	seen := map[string]place{}
	for i, a := range c.rule.Approvers {
		at := fmt.Sprintf("approvers[%d]", i)
		if err := keychain.ValidName(a.Name); err != nil {
			c.say(at+".name", err.Error(), "write the name under which the person is enrolled: keyorch enroll --operator NAME")
		}
		if j := slices.IndexFunc(c.rule.Approvers, func(o Approver) bool { return o.Name == a.Name }); j < i {
			c.say(at+".name", fmt.Sprintf("%q is already at approvers[%d]", a.Name, j), "put the keys of one person into one entry")
		}
		if n := len(a.Keys); n == 0 || n > maxKeys {
			c.say(at+".keys", fmt.Sprintf("there are %d keys", n), fmt.Sprintf("write from 1 to %d public keys", maxKeys))
		}
		for k, line := range a.Keys {
			at := fmt.Sprintf("%s.keys[%d]", at, k)
			key, err := ParseKey(line)
			if err != nil {
				c.say(at, err.Error(), "")
				continue
			}
			if first, twice := seen[key.Fingerprint()]; twice {
				c.say(at, fmt.Sprintf("the same key is at %s already", first.field), "a key belongs to one person: remove one of the two")
			}
			seen[key.Fingerprint()] = place{field: at, of: a.Name}
			if (c.rule.Touch || c.rule.PIN) && !key.Hardware() {
				c.say(at, "the rule wants a touch or a PIN, and a key of type "+key.Type()+" knows of neither", "use a key made with ssh-keygen -t ed25519-sk")
			}
		}
	}
}

func people(n int) string {
	if n == 1 {
		return "1 approver"
	}
	return strconv.Itoa(n) + " approvers"
}

// Person is the name of the operator whose common name cn is, or empty: the operator
// who has none, and whoever is no operator.
func Person(cn string) string {
	i, err := identity.ParseCommonName(cn)
	if err != nil || i.Role != identity.Operator {
		return ""
	}
	return i.Person
}

// owner is the approver whose key it is; false for none.
func (r Rule) owner(key Key) (string, bool) {
	for _, a := range r.Approvers {
		for _, line := range a.Keys {
			if k, err := ParseKey(line); err == nil && k.Is(key) {
				return a.Name, true
			}
		}
	}
	return "", false
}

// Asking are the rules that a plan must satisfy. A rule that the plan would change or
// remove must approve that itself, whatever its verbs are: otherwise a rule could be
// taken away by who it is there to stop. A revocation that gives links new keys needs what a
// compromise needs as well.
func Asking(rules []Rule, p Plan) []Rule {
	var asking []Rule
	for _, r := range rules {
		changed := p.Verb == Rules && slices.ContainsFunc(p.Changes, func(c Change) bool { return c.What == r.What() && c.Before != "" })
		renews := p.Verb == Revoke && len(p.Links) > 0 && slices.Contains(r.Verbs, Compromise)
		if changed || renews || slices.Contains(r.Verbs, p.Verb) {
			asking = append(asking, r)
		}
	}
	return asking
}

// What is how a change of the rule calls it.
func (r Rule) What() string { return "ApprovalRule " + r.Name }

// Good is how long a request under the rules is good: the shortest of their deadlines.
func Good(asking []Rule) time.Duration {
	good := MaxDeadline
	for _, r := range asking {
		good = min(good, r.Deadline)
	}
	return good
}
