package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/keyorch/keyorch/fault"
)

func kinds() []fault.Kind {
	return []fault.Kind{fault.Unknown, fault.Invalid, fault.Refused, fault.Stale, fault.Mismatch, fault.Unavailable}
}

func TestKindsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds() {
		if seen[k.String()] || fault.ParseKind(k.String()) != k {
			t.Errorf("%d is %q, which reads back as %v", k, k, fault.ParseKind(k.String()))
		}
		seen[k.String()] = true
	}
	for _, other := range []string{"", "Refused", "nonsense", fault.Kind(99).String()} {
		if fault.ParseKind(other) != fault.Unknown {
			t.Errorf("%q reads as %v", other, fault.ParseKind(other))
		}
	}
}

func TestRetryable(t *testing.T) {
	for _, k := range kinds() {
		if want := k == fault.Unknown || k == fault.Unavailable; k.Retryable() != want {
			t.Errorf("%v is retryable: %v", k, k.Retryable())
		}
	}
}

func TestKindOfAnError(t *testing.T) {
	inner := fault.New(fault.Refused, "remove epoch %d: %w", 4, io.EOF)
	for name, c := range map[string]struct {
		err  error
		kind fault.Kind
		text string
		eof  bool
	}{
		"made":                   {fault.New(fault.Stale, "obey turn %d", 7), fault.Stale, "obey turn 7", false},
		"made with a cause":      {inner, fault.Refused, "remove epoch 4: EOF", true},
		"wrapped by fmt":         {fmt.Errorf("node a: %w", inner), fault.Refused, "node a: remove epoch 4: EOF", true},
		"wrapped: outermost":     {fault.Wrap(fault.Unavailable, inner, "ask %s", "a"), fault.Unavailable, "ask a: remove epoch 4: EOF", true},
		"not ours":               {io.EOF, fault.Unknown, "EOF", true},
		"two causes":             {fault.New(fault.Invalid, "%w and %w", io.EOF, io.ErrNoProgress), fault.Invalid, "EOF and " + io.ErrNoProgress.Error(), true},
		"joined: the first ours": {errors.Join(io.EOF, inner), fault.Refused, "EOF\nremove epoch 4: EOF", true},
	} {
		if fault.Of(c.err) != c.kind || c.err.Error() != c.text || c.eof && !errors.Is(c.err, io.EOF) {
			t.Errorf("%s: %v %q, want %v %q", name, fault.Of(c.err), c.err, c.kind, c.text)
		}
		for _, k := range kinds() {
			if fault.Is(c.err, k) != (k == c.kind) {
				t.Errorf("%s: Is(%v) = %v", name, k, !(k == c.kind))
			}
		}
	}
}

func TestNothingIsNoFault(t *testing.T) {
	if err := fault.Wrap(fault.Refused, nil, "do nothing"); err != nil {
		t.Errorf("Wrap(nil) = %v", err)
	}
	for _, k := range kinds() {
		if fault.Is(nil, k) {
			t.Errorf("nil is %v", k)
		}
	}
}

func TestEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	failed := fault.Wrap(fault.Unknown, context.Canceled, "watch")
	if fault.Ended(ctx, failed) {
		t.Error("ended before the context did")
	}
	cancel()
	if !fault.Ended(ctx, failed) || fault.Ended(ctx, io.EOF) || fault.Ended(ctx, nil) {
		t.Error("only an error that came from the context says that it ended")
	}
}
