package approval

import (
	"fmt"
	"time"
)

// InForce are the rules that hold, whatever is declared.
type InForce struct {
	Rules []Rule `json:"rules"`
	// Since is when they came into force.
	Since time.Time `json:"since"`
	// Revision guards what is decided by them; zero: none were ever written down, and
	// Rules are those that are declared.
	Revision int64 `json:"-"`
	// Broken says that they cannot be read: nothing can be done that may need approvals.
	Broken bool `json:"-"`
}

// unreadable is why nothing is approved while the rules in force are broken.
const unreadable = "the rules of approvals in force cannot be read: see keyorch doctor"

// Asked is a request and what became of it.
type Asked struct {
	Request Request
	// By is the common name of who wrote it down, which is known to be true.
	By    string
	Votes []Vote
	Ended *End // nil while it is open
}

// End is how a request ended: nothing is done on its strength any more.
type End struct {
	ID    string    `json:"id"`
	State State     `json:"state"` // Used, Rejected or Expired
	At    time.Time `json:"at"`
	// For is what it was used for, Reason why it was rejected, Rules how far each rule
	// was satisfied.
	For    string     `json:"for,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Rules  []Standing `json:"rules,omitempty"`
}

// Decide is how the request stands under the rules in force.
func (a Asked) Decide(f InForce, now time.Time) Decision {
	switch {
	case a.By != a.Request.Plan.Requester:
		return Decision{State: Rejected, Reason: fmt.Sprintf("%s has written it in the name of %s", a.By, plain(a.Request.Plan.Requester))}
	case a.Ended != nil:
		return Decision{State: a.Ended.State, Reason: a.Ended.Reason, Rules: a.Ended.Rules}
	case f.Broken && now.Before(a.Request.Expires): // no rule asks, since none is known
		return Decision{State: Wanted, Reason: unreadable}
	case f.Broken:
		return Decision{State: Expired, Reason: unreadable}
	}
	return Decide(a.Request, Asking(f.Rules, a.Request.Plan), a.Votes, now)
}

// Need says what a plan is about to be done for.
type Need struct {
	Plan Plan
	For  string // what it is to be used for, such as the name of a campaign
}

// Asks reports whether any rule in force asks for approvals of n.
func (f InForce) Asks(n Need) bool { return f.Broken || len(f.Asking(n)) > 0 }

// Asking are the rules in force that ask for approvals of n.
func (f InForce) Asking(n Need) []Rule { return Asking(f.Rules, n.Plan) }

// Consent is how a request is used: End is written down together with what it is used
// for. The zero Consent is that none was needed.
type Consent struct {
	End   End
	Rules int64 // the Revision of the rules by which it was decided
	Notes []Refusal
	// Again says that it was used for the very same before: nothing is to be written.
	Again bool
}

// Needed reports whether approvals were needed at all.
func (c Consent) Needed() bool { return c.End.ID != "" }

// Consent is what lets n be done now, on the strength of the request with an ID, or
// why nothing does: a refusal in words. Find looks a request up.
func (f InForce) Consent(n Need, id string, find func(id string) (Asked, bool), now time.Time) (Consent, string) {
	asking := f.Asking(n)
	if f.Broken {
		return Consent{}, unreadable
	}
	if len(asking) == 0 {
		return Consent{}, ""
	}
	names := make([]string, len(asking))
	for i, r := range asking {
		names[i] = r.Name
	}
	if id == "" {
		return Consent{}, fmt.Sprintf("%s needs approvals (rule %s), and none were named", n.Plan.Verb, alternatives(names))
	}
	a, ok := find(id)
	if !ok {
		return Consent{}, fmt.Sprintf("approval %s: there is no such request", plain(id))
	}
	c := Consent{Rules: f.Revision}
	plan := n.Plan
	plan.Requester = a.By
	if a.By != a.Request.Plan.Requester {
		return c, fmt.Sprintf("approval %s: %s has written it in the name of %s", id, a.By, plain(a.Request.Plan.Requester))
	}
	if plan.Sorted().Digest() != a.Request.Plan.Digest() {
		return c, fmt.Sprintf("approval %s: the plan has changed: new approvals are needed", id)
	}
	if e := a.Ended; e != nil {
		if e.State == Used && e.For == n.For && n.For != "" {
			return Consent{End: *e, Again: true}, ""
		}
		return c, fmt.Sprintf("approval %s: %s", id, e.words())
	}
	d := Decide(a.Request, asking, a.Votes, now)
	c.Notes = d.Refused
	switch d.State {
	case Approved:
		c.End = End{ID: id, State: Used, At: now.UTC(), For: n.For, Rules: d.Rules}
		return c, ""
	case Expired:
		return c, fmt.Sprintf("approval %s: it has expired at %s", id, stamp(a.Request.Expires))
	case Rejected:
		return c, fmt.Sprintf("approval %s: %s", id, d.Reason)
	}
	why := fmt.Sprintf("approval %s: approvals are missing: %s", id, d.Missing())
	for _, r := range d.Refused {
		why += fmt.Sprintf("; what %s has signed does not count: %s", r.By, r.Reason)
	}
	return c, why
}

func (e End) words() string {
	switch e.State {
	case Used:
		return fmt.Sprintf("it was used already, at %s for %s", stamp(e.At), plain(e.For))
	case Expired:
		return "it has expired"
	}
	return "it ended as " + string(e.State) + ": " + plain(e.Reason)
}
