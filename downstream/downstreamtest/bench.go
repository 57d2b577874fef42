package downstreamtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// Prompt is how long an operation may take to come back once its context has
// ended.
const Prompt = 5 * time.Second

const theLink keychain.LinkID = "conformance"

// obedient is the part of an agent that matters here: the fence over Accept and
// Forget.
type obedient struct {
	dev  downstream.Device
	turn keychain.Turn
}

func (n *obedient) obey(ctx context.Context, turn keychain.Turn, want []downstream.Want) error {
	if turn < n.turn {
		return fault.New(fault.Stale, "obey turn %d: turn %d was obeyed", turn, n.turn)
	}
	n.turn = turn
	if _, err := downstream.Accept(ctx, n.dev, theLink, want); err != nil {
		return err
	}
	_, err := downstream.Forget(ctx, n.dev, theLink, want)
	return err
}

// bench is one check on one fixture: it keeps every key and every error, to look
// for the ones in the others at the end.
type bench struct {
	*testing.T
	Fixture
	mu       sync.Mutex
	canaries []secrettest.Canary
	errs     []string
}

func (x *bench) key(e keychain.Epoch) (keychain.SA, secret.Key) {
	x.Helper()
	c := secrettest.New(x)
	check, err := c.Key.Check()
	x.must(err)
	x.canaries = append(x.canaries, c)
	sa := keychain.SA{
		Link: theLink, Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)},
		Serial: keychain.Serial(e), Turn: keychain.Turn(e),
	}
	return sa, c.Key
}

func (x *bench) want(e keychain.Epoch) (keychain.SA, downstream.Want) {
	x.Helper()
	sa, k := x.key(e)
	return sa, downstream.Want{SA: sa, Key: func(context.Context) (secret.Key, error) { return k, nil }}
}

// two installs epochs 1 and 2.
func (x *bench) two() (a, b keychain.SA) {
	x.Helper()
	a, k1 := x.key(1)
	b, k2 := x.key(2)
	x.must(x.Device.Install(x.Context(), a, k1))
	x.must(x.Device.Install(x.Context(), b, k2))
	return a, b
}

func (x *bench) observe() []keychain.Ref {
	x.Helper()
	o, err := x.Device.Observe(x.Context(), theLink)
	x.must(err)
	return o.Accepts
}

func (x *bench) accepts(want ...keychain.Ref) {
	x.Helper()
	if got := x.observe(); !slices.Equal(got, want) {
		x.Errorf("it accepts %v, want %v", got, want)
	}
}

// consistent wants first to be accepted still, and second wholly or not at all.
func (x *bench) consistent(first, second keychain.Ref) {
	x.Helper()
	got := x.observe()
	if !slices.Equal(got, []keychain.Ref{first}) && !slices.Equal(got, []keychain.Ref{first, second}) {
		x.Errorf("it accepts %v, want %v with or without %v", got, first, second)
	}
}

func (x *bench) failsForCertain(err error) {
	x.Helper()
	if x.note(err) == nil || fault.Is(err, fault.Unknown) {
		x.Errorf("an operation that failed for certain says: %v (%v)", err, fault.Of(err))
	}
}

// endsWith wants f back soon after ctx has ended, with its error or an unknown
// outcome.
func (x *bench) endsWith(ctx context.Context, f func() error) {
	x.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	<-ctx.Done()
	select {
	case err := <-done:
		if x.note(err); err == nil || !errors.Is(err, ctx.Err()) && !fault.Of(err).Retryable() {
			x.Errorf("after its context ended: %v (%v)", err, fault.Of(err))
		}
	case <-time.After(Prompt):
		x.Fatalf("no answer %v after its context ended", Prompt)
	}
}

func (x *bench) must(err error) {
	x.Helper()
	if x.note(err) != nil {
		x.Fatal(err)
	}
}

func (x *bench) note(err error) error {
	if err != nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.errs = append(x.errs, fmt.Sprintf("%v %+v %#v", err, err, err))
	}
	return err
}

// sealed wants no key bytes in any error or log of this check.
func (x *bench) sealed() {
	x.Helper()
	for _, c := range x.canaries {
		c.Absent(x, "an error", x.errs...)
		if x.Logs != nil {
			c.Absent(x, "the log", x.Logs())
		}
	}
}
