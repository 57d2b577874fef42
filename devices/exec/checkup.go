package exec

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Checkup tries a gear program against the contract, with keys made for it, on
// links that no other key is on. It is what `keyorch device check` runs.
//
// It goes through every operation in the order of a rotation, repeats each, asks
// for what must be refused, breaks runs off in the middle, and looks for key bytes
// in all that the program prints. The program is run by the same Device that an
// agent uses, so what passes here is taken there.
type Checkup struct {
	Device *Device
	// Link names the first of the two links that it uses; the second has "-b" behind
	// it. Neither may have a key.
	Link keychain.LinkID
	// Sends and Accepts are the roles to try.
	Sends, Accepts bool
	// Tell is called with each verdict as it comes.
	Tell func(Verdict)
}

// Verdict is the outcome of one check.
type Verdict struct {
	// Check is a sentence that is true of good gear.
	Check string
	Role  string // "downstream", "upstream" or "both"
	// Err says what was wrong; nil when the check was passed.
	Err error
	// Skipped says that the check was not tried, since an earlier one has to be
	// passed first.
	Skipped bool
}

// Left names the keys that a checkup leaves on the gear: a contract without a way
// to remove the last key leaves that one.
type Left struct {
	Link    keychain.LinkID
	Accepts []keychain.Ref
	Sends   keychain.Ref
}

// Run runs all checks and reports how many were not passed, and what is left on
// the gear.
func (c Checkup) Run(ctx context.Context) (failed int, left []Left) {
	e := &examination{Checkup: c, ctx: ctx, a: c.Link, b: c.Link + "-b"}
	e.Device.overhear = e.listen
	defer func() { e.Device.overhear = nil }()
	if c.Accepts {
		e.accepting()
	}
	if c.Sends {
		e.stopped = false
		e.sending()
	}
	if c.Accepts && c.Sends {
		e.together()
	}
	e.role, e.stopped = "", false
	e.check("no key bytes are in what it prints", func() error { return e.leak })
	return e.failed, e.left()
}

// examination is a checkup under way.
type examination struct {
	Checkup
	ctx     context.Context
	a, b    keychain.LinkID
	role    string
	stopped bool // an essential check was not passed
	failed  int
	highest keychain.Epoch

	mu   sync.Mutex
	leak error // what was overheard
}

// check runs one check and tells its verdict.
func (e *examination) check(what string, f func() error) {
	v := Verdict{Check: what, Role: e.role, Skipped: e.stopped}
	if v.Role == "" {
		v.Role = "both"
	}
	if !v.Skipped {
		v.Err = f()
	}
	if v.Err != nil {
		e.failed++
	}
	e.Tell(v)
}

// essential is a check without which the later ones of the role make no sense.
func (e *examination) essential(what string, f func() error) {
	before := e.failed
	e.check(what, f)
	e.stopped = e.stopped || e.failed > before
}

// sample is a key made for the checkup.
type sample struct {
	sa  keychain.SA
	key secret.Key
}

// sample makes the key of the next epoch of link.
func (e *examination) sample(link keychain.LinkID) sample {
	e.highest++
	return e.under(link, e.highest)
}

// under makes a key of its own under an epoch.
func (e *examination) under(link keychain.LinkID, epoch keychain.Epoch) sample {
	bytes := make([]byte, secret.Size)
	_, _ = rand.Read(bytes) // it never fails, see package crypto/rand
	key := secret.New(bytes)
	check, _ := key.Check() // of a key that is not empty
	return sample{
		sa: keychain.SA{Link: link, Ref: keychain.Ref{Epoch: epoch, KCV: keychain.KCVOf(check)},
			Serial: keychain.Serial(epoch), Turn: keychain.Turn(epoch)},
		key: key,
	}
}

// operate runs the program as Device does, without what Device sees to itself.
func (e *examination) operate(op, role string, s sample) (report, error) {
	r := request{Op: op, Role: role, Link: s.sa.Link}
	if op != opObserve {
		r.Turn, r.Epoch, r.KCV = s.sa.Turn, s.sa.Epoch, s.sa.KCV
	}
	if op != opInstall && op != opSwitch {
		return e.Device.operate(e.ctx, r, secret.Key{})
	}
	return e.Device.operate(e.ctx, r, s.key)
}

// refused wants err to be a refusal or another failure that is one for certain.
func refused(err error) error {
	switch {
	case err == nil:
		return errors.New("it was carried out: it must be refused, with exit code 10")
	case fault.Is(err, fault.Unknown):
		return fmt.Errorf("%w: it must be refused, with exit code 10", err)
	}
	return nil
}

// interrupted begins an operation again and again, and kills the program each time
// a little later, until a run has come to its end by itself.
func (e *examination) interrupted(op, role string, s sample) {
	for after := time.Millisecond; after < e.Device.timeout; after = after*3/2 + time.Millisecond {
		ctx, cancel := context.WithTimeout(e.ctx, after)
		r := request{Op: op, Role: role, Link: s.sa.Link, Turn: s.sa.Turn, Epoch: s.sa.Epoch, KCV: s.sa.KCV}
		_, err := e.Device.operate(ctx, r, s.key)
		ended := ctx.Err() == nil
		cancel()
		if ended || err == nil || e.ctx.Err() != nil {
			return
		}
	}
}

// listen looks for key bytes in what a run prints.
func (e *examination) listen(r request, stdout, stderr []byte, key secret.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, text := range map[string][]byte{"standard output": stdout, "standard error": stderr} {
		found := keyShaped.Match(text)
		_ = key.Use(func(k []byte) error {
			found = found || len(k) > 0 && holds(string(text), k)
			return nil
		})
		if found && e.leak == nil {
			e.leak = fmt.Errorf("in %s, %s has key bytes, or what looks like them: a log would keep them for good", r.Op, name)
		}
	}
}

// left looks what is on the gear in the end.
func (e *examination) left() []Left {
	var all []Left
	for _, link := range []keychain.LinkID{e.a, e.b} {
		l := Left{Link: link}
		if e.Accepts {
			r, _ := e.operate(opObserve, roleDownstream, sample{sa: keychain.SA{Link: link}})
			l.Accepts = r.accepts
		}
		if e.Sends {
			r, _ := e.operate(opObserve, roleUpstream, sample{sa: keychain.SA{Link: link}})
			l.Sends = r.sends
		}
		if len(l.Accepts) > 0 || !l.Sends.IsZero() {
			all = append(all, l)
		}
	}
	return all
}

// accepts wants link to accept these keys and no others.
func (e *examination) accepts(link keychain.LinkID, want ...sample) error {
	r, err := e.operate(opObserve, roleDownstream, sample{sa: keychain.SA{Link: link}})
	if err != nil {
		return fmt.Errorf("observe afterwards: %w", err)
	}
	return showsAll(r.accepts, want)
}

func showsAll(got []keychain.Ref, want []sample) error {
	var refs []keychain.Ref
	for _, s := range want {
		refs = append(refs, s.sa.Ref)
	}
	if !slices.Equal(got, refs) {
		return fmt.Errorf("the gear shows that it accepts %s, want %s", list(got), list(refs))
	}
	return nil
}

// sends wants link to send with this key.
func (e *examination) sends(link keychain.LinkID, want sample) error {
	r, err := e.operate(opObserve, roleUpstream, sample{sa: keychain.SA{Link: link}})
	if err != nil {
		return fmt.Errorf("observe afterwards: %w", err)
	}
	if r.sends != want.sa.Ref {
		return fmt.Errorf("the gear shows that it sends with %v, want %v", r.sends, want.sa.Ref)
	}
	return nil
}

// list is keys as an operator reads them.
func list(refs []keychain.Ref) string {
	if len(refs) == 0 {
		return "no key"
	}
	text := ""
	for i, r := range refs {
		if i > 0 {
			text += " and "
		}
		text += r.String()
	}
	return text
}
