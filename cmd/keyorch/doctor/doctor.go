// Package doctor looks at everything that a process of keyorch depends on: who it is,
// its servers, what they let it do and what they must not, clocks, versions and the
// fleet. Each check is a small function that gives findings; what is wrong is said in
// the words of the package that met it, with how to mend it.
//
// It changes nothing anywhere, and shows no secret.
package doctor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// State is how something is.
type State string

// The states.
const (
	OK      State = "ok"
	Warn    State = "warn"    // it works, and somebody should look
	Fail    State = "fail"    // something will not work, or is not safe
	Skipped State = "skipped" // it could not be looked at, or does not matter here
)

// Subject is what a check is about. They are shown in this order.
type Subject string

// The subjects.
const (
	Identity Subject = "identity"
	Etcd     Subject = "etcd"
	Vault    Subject = "vault"
	Temporal Subject = "temporal"
	Fleet    Subject = "fleet"
)

// Subjects are all, in their order.
func Subjects() []Subject { return []Subject{Identity, Etcd, Vault, Temporal, Fleet} }

// Finding is what one check found.
type Finding struct {
	Subject Subject `json:"subject"`
	Check   string  `json:"check"`
	State   State   `json:"state"`
	What    string  `json:"what"`
	Mend    string  `json:"mend,omitempty"`
	// Fault is the kind of a failure.
	Fault string `json:"fault,omitempty"`

	kind fault.Kind
}

// Patient is what is looked at: the settings of a process, as they were read.
type Patient struct {
	Etcd store.Config
	// Custody and Dial are the settings of Vault, or why there are none, and how to
	// connect to Temporal.
	Custody    custody.Config
	CustodyErr error
	Dial       func(context.Context) (*wiring.TemporalClient, error)
	// TemporalSet says that an address of Temporal was given: who can do without it
	// is not asked for it.
	TemporalSet bool
	// Site and Node are what an agent is to serve; empty for anybody else.
	Site    keychain.SiteID
	Node    keychain.NodeID
	Version string // of this program
	Now     func() time.Time
	// Patience is how long one check may take.
	Patience time.Duration
}

// Examine runs every check, those of different servers side by side, and gives what
// they found: by subject, in the order in which it was looked at.
func (p Patient) Examine(ctx context.Context) []Finding {
	me, findings := p.who()
	var mu sync.Mutex
	var over sync.WaitGroup
	for _, look := range []func(context.Context, person) []Finding{p.etcd, p.vault, p.temporal} {
		over.Go(func() {
			found := look(ctx, me)
			mu.Lock()
			defer mu.Unlock()
			findings = append(findings, found...)
		})
	}
	over.Wait()
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Compare(slices.Index(Subjects(), a.Subject), slices.Index(Subjects(), b.Subject))
	})
	return findings
}

// Worst is the kind of the failure that is to be mended first, and false when there is
// none: a setting that can never do comes before what is refused, and that before what
// is away.
func Worst(findings []Finding) (fault.Kind, bool) {
	for _, k := range []fault.Kind{fault.Invalid, fault.Refused, fault.Unavailable} {
		if slices.ContainsFunc(findings, func(f Finding) bool { return f.State == Fail && f.kind == k }) {
			return k, true
		}
	}
	return 0, false
}

// person is who the process is, as far as that is known.
type person struct {
	identity.Identity
	known bool
}

// about makes findings of one subject.
type about struct {
	subject Subject
	found   []Finding
}

func (a *about) add(check string, s State, what, mend string) {
	f := Finding{Subject: a.subject, Check: check, State: s, What: what, Mend: mend}
	if s == Fail {
		f.kind = fault.Refused
		f.Fault = f.kind.String()
	}
	a.found = append(a.found, f)
}

func (a *about) ok(check, what string)         { a.add(check, OK, what, "") }
func (a *about) warn(check, what, mend string) { a.add(check, Warn, what, mend) }
func (a *about) fail(check, what, mend string) { a.add(check, Fail, what, mend) }
func (a *about) skip(check, why string)        { a.add(check, Skipped, why, "") }

// failed is a failure in the words of err.
func (a *about) failed(check string, err error) {
	what, mend := words(err)
	f := Finding{Subject: a.subject, Check: check, State: Fail, What: what, Mend: mend, kind: fault.Of(err)}
	switch f.kind {
	case fault.Invalid, fault.Refused, fault.Unavailable:
	default:
		f.kind = fault.Unavailable // nothing came of it, and nobody knows why
	}
	f.Fault = f.kind.String()
	a.found = append(a.found, f)
}

// within runs f with the patience of one check.
func (p Patient) within(ctx context.Context, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	f(ctx)
}
