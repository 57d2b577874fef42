package approval

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Vote is what one person says to a request. By is the common name with which it was
// written down, which is known to be true.
type Vote struct {
	By string    `json:"-"`
	At time.Time `json:"at"`
	// Signature is armored. Rejected, if not empty, is why the person is against it.
	Signature string `json:"signature,omitempty"`
	Rejected  string `json:"rejected,omitempty"`
}

// State is how a request stands.
type State string

// The states. A request that was Used cannot be used again.
const (
	Wanted   State = "wanted"
	Approved State = "approved"
	Rejected State = "rejected"
	Expired  State = "expired"
	Used     State = "used"
)

// Decision is how a request stands under the rules that ask for it.
type Decision struct {
	State State `json:"state"`
	// Reason is why it is rejected, or can never be approved.
	Reason string     `json:"reason,omitempty"`
	Rules  []Standing `json:"rules,omitempty"`
	// Refused are votes that do not count, with the reason.
	Refused []Refusal `json:"refused,omitempty"`
}

// Standing is how far one rule is satisfied.
type Standing struct {
	Rule   string     `json:"rule"`
	Needed int        `json:"needed"`
	By     []Approval `json:"by,omitempty"`
	// Open are the approvers that have not signed and may, in the order in which they are
	// asked.
	Open []string `json:"open,omitempty"`
}

// Approval is a signature that counts.
type Approval struct {
	Name string    `json:"name"`
	By   string    `json:"by"`
	Key  string    `json:"key"` // its fingerprint
	At   time.Time `json:"at"`
	Proof
}

// Refusal is a vote that does not count.
type Refusal struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// skew is by how much the clock of who asks may be ahead.
const skew = 5 * time.Minute

// Decide says how a request stands: rules are those that ask for it (Asking), votes
// those about it. It gives the same answer to the same question.
//
//  1. Only signatures over r's statement by a key that the rule lists count, each
//     approver once, and only when the approver wrote the vote.
//  2. Nobody approves what they asked for.
//  3. Who is listed may reject, and then it is rejected.
func Decide(r Request, rules []Rule, votes []Vote, now time.Time) Decision {
	var d Decision
	if d.Reason = impossible(r, rules, now); d.Reason != "" {
		d.State = Rejected
		return d
	}
	votes = slices.Clone(votes)
	slices.SortFunc(votes, func(a, b Vote) int { return cmp.Compare(a.By, b.By) })
	message := r.Statement().Bytes()
	refused := map[string]string{}
	counted := map[string]bool{}
	enough := true
	for _, rule := range rules {
		s := Standing{Rule: rule.Name, Needed: rule.Approvals}
		for _, v := range votes {
			if v.Rejected != "" {
				if why := againstBy(rule, v); why != "" && d.Reason == "" {
					d.State, d.Reason = Rejected, why
				}
				continue
			}
			a, why := rule.count(r, message, v)
			switch {
			case why != "":
				refused[v.By] = cmp.Or(refused[v.By], why)
			case !slices.ContainsFunc(s.By, func(o Approval) bool { return o.Name == a.Name }):
				s.By, counted[v.By] = append(s.By, a), true
			}
		}
		s.Open = rule.open(r, s.By)
		enough = enough && len(s.By) >= s.Needed
		d.Rules = append(d.Rules, s)
	}
	for _, v := range votes {
		if why := refused[v.By]; why != "" && !counted[v.By] {
			d.Refused = append(d.Refused, Refusal{By: v.By, Reason: why})
		}
	}
	switch {
	case d.State == Rejected:
	case !now.Before(r.Expires):
		d.State = Expired
	case enough:
		d.State = Approved
	default:
		d.State = Wanted
	}
	return d
}

// impossible is why a request can never be approved, or empty.
func impossible(r Request, rules []Rule, now time.Time) string {
	switch {
	case r.At.After(now.Add(skew)):
		return fmt.Sprintf("it says that it was asked for at %s, which is to come", stamp(r.At))
	case !r.Expires.After(r.At):
		return "it expires before it was asked for"
	case r.Expires.Sub(r.At) > Good(rules):
		return fmt.Sprintf("it gives itself %v, and the rules give it %v", r.Expires.Sub(r.At), Good(rules))
	}
	return ""
}

// againstBy is that an approver of the rule rejects, or empty.
func againstBy(rule Rule, v Vote) string {
	person := Person(v.By)
	if person == "" || !slices.ContainsFunc(rule.Approvers, func(a Approver) bool { return a.Name == person }) {
		return ""
	}
	return fmt.Sprintf("%s rejects it: %s", person, plain(v.Rejected))
}

// count is a vote as an approval by the rule, or why it is none.
func (r Rule) count(q Request, message []byte, v Vote) (Approval, string) {
	s, err := ParseSignature([]byte(v.Signature))
	if err != nil {
		return Approval{}, err.Error()
	}
	name, listed := r.owner(s.Key)
	switch {
	case !listed:
		return Approval{}, fmt.Sprintf("the key %s is not listed in rule %s", s.Key.Fingerprint(), r.Name)
	case v.By == q.Plan.Requester || name == Person(q.Plan.Requester):
		return Approval{}, "nobody approves their own request"
	case Person(v.By) != name:
		return Approval{}, fmt.Sprintf("the key is %s's, and %s has written the approval: approvers hand theirs in themselves", name, v.By)
	}
	proof, err := s.Verify(message)
	switch {
	case err != nil:
		return Approval{}, err.Error()
	case r.Touch && !proof.Touched:
		return Approval{}, fmt.Sprintf("rule %s wants a hardware key that was touched", r.Name)
	case r.PIN && !proof.PIN:
		return Approval{}, fmt.Sprintf("rule %s wants a hardware key that was unlocked with its PIN: make the key with -O verify-required", r.Name)
	}
	return Approval{Name: name, By: v.By, Key: s.Key.Fingerprint(), At: v.At, Proof: proof}, ""
}

// open are the approvers who may still sign.
func (r Rule) open(q Request, by []Approval) []string {
	var open []string
	for _, a := range r.Approvers {
		signed := slices.ContainsFunc(by, func(o Approval) bool { return o.Name == a.Name })
		if !signed && a.Name != Person(q.Plan.Requester) {
			open = append(open, a.Name)
		}
	}
	return open
}

// Missing is what is missing until the request is approved, in words, or empty.
func (d Decision) Missing() string {
	var text string
	for _, s := range d.Rules {
		if n := s.Needed - len(s.By); n > 0 {
			if text != "" {
				text += "; "
			}
			text += fmt.Sprintf("%d more of %s (rule %s)", n, alternatives(s.Open), s.Rule)
		}
	}
	return text
}

func alternatives(names []string) string {
	switch len(names) {
	case 0:
		return "nobody who may"
	case 1:
		return names[0]
	}
	text := ""
	for i, n := range names[:len(names)-1] {
		if i > 0 {
			text += ", "
		}
		text += n
	}
	return text + " or " + names[len(names)-1]
}
