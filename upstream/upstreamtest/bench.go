package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream"
)

// Prompt is how long an operation may take to come back once its context has
// ended.
const Prompt = 5 * time.Second

const theLink keychain.LinkID = "conformance"

// obedient is the part of an agent that matters here: the fence over Send.
type obedient struct {
	dev    upstream.Device
	ledger *Ledger
	turn   keychain.Turn
}

func (n *obedient) obey(ctx context.Context, w upstream.Want) error {
	if w.SA.Turn < n.turn {
		return fault.New(fault.Stale, "obey turn %d: turn %d was obeyed", w.SA.Turn, n.turn)
	}
	n.turn = w.SA.Turn
	_, err := upstream.Send(ctx, n.dev, w.SA.Link, w, n.ledger)
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

func (x *bench) want(e keychain.Epoch, turn keychain.Turn) (keychain.SA, upstream.Want) {
	x.Helper()
	sa, k := x.key(e)
	sa.Turn = turn
	return sa, upstream.Want{SA: sa, Key: func(context.Context) (secret.Key, error) { return k, nil }}
}

func (x *bench) send(w upstream.Want, l upstream.Ledger) error {
	_, err := upstream.Send(x.Context(), x.Device, theLink, w, l)
	return x.note(err)
}

func (x *bench) observe() upstream.Observation {
	x.Helper()
	o, err := x.Device.Observe(x.Context(), theLink)
	x.must(err)
	return o
}

func (x *bench) sends(want keychain.Ref) {
	x.Helper()
	if got := x.observe().Sends; got != want {
		x.Errorf("it sends with %v, want %v", got, want)
	}
}

// noReuse lets some packets pass, and wants none of them to repeat a counter.
func (x *bench) noReuse() {
	x.Helper()
	if x.Reused == nil {
		return
	}
	if n := x.Reused(); n != 0 {
		x.Errorf("%d packets went out with a key and a counter that had been used", n)
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
