package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// failing is a store of which every call fails with err.
type failing struct {
	workflows.Store
	err error
}

func (f failing) Minting(context.Context) (int64, error) { return 0, nil }

func (f failing) Records(context.Context, []keychain.LinkID) ([]link.Record, error) {
	return nil, f.err
}

func (f failing) Commit(context.Context, []workflows.Change) ([]workflows.Committed, error) {
	return nil, f.err
}

// leak is what no error may bring into a history.
const leak = "hvs.CAESIJ-token"

// TestFaultsBecomeTemporalErrors is the table of kinds: the error's type, and
// whether the activity is tried again.
func TestFaultsBecomeTemporalErrors(t *testing.T) {
	for _, c := range []struct {
		err   error
		kind  string
		again bool
		says  string
	}{
		{fault.New(fault.Invalid, "commit a: it is malformed"), "invalid", false, "commit a: it is malformed"},
		{fault.New(fault.Refused, "read a: not allowed"), "refused", false, "read a: not allowed"},
		{fault.New(fault.Stale, "commit a: too late"), "stale", false, "commit a: too late"},
		{fault.New(fault.Mismatch, "read a: it is broken"), "mismatch", false, "read a: it is broken"},
		{fault.New(fault.Unknown, "write a: no answer"), "unknown", true, "write a: no answer"},
		{fault.New(fault.Unavailable, "read a: etcd is away"), "unavailable", true, "read a: etcd is away"},
		{errors.New("403 from the server: " + leak), "unknown", true, ""},
		{fmt.Errorf("the raw answer %s: %w", leak, fault.New(fault.Stale, "commit a: too late")), "stale", false, "commit a: too late"},
		{context.Canceled, "unknown", true, "context canceled"},
		{context.DeadlineExceeded, "unknown", true, "context deadline exceeded"},
	} {
		t.Run(c.kind+" "+c.says, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				a := workflows.NewActivities(failing{err: c.err}, view{w}, w, w)
				_, begin := call(t, a.Begin, workflows.BeginRequest{Owner: theCampaign, Links: []keychain.LinkID{"a"}})
				_, save := call(t, a.Save, []link.Record{{Link: "a"}})
				for _, err := range []error{begin, save} {
					got := new(temporal.ApplicationError)
					if !errors.As(err, &got) {
						t.Fatalf("it fails with %v", err)
					}
					if got.Type() != c.kind || got.NonRetryable() == c.again {
						t.Errorf("type %q, retryable %v, want %q, %v", got.Type(), !got.NonRetryable(), c.kind, c.again)
					}
					if !strings.Contains(got.Message(), c.says) || strings.Contains(err.Error(), leak) {
						t.Errorf("the message is %q", err)
					}
				}
			})
		})
	}
}

// TestNoSecretInAnswers has servers whose errors hold what they should not.
func TestNoSecretInAnswers(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.leftIn("b", link.Staging)
		w.runs = errors.New("temporal says: " + leak)
		w.mint = func(keychain.LinkID) error { return errors.New("vault says: " + leak) }
		begun, err := begin(t, w, theCampaign, "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range begun {
			if b.Later == "" || strings.Contains(b.Later+b.Denied, leak) {
				t.Errorf("it answers %+v", b)
			}
		}
	})
}
