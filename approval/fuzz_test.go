package approval_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/fault"
)

// FuzzSignature: no text makes ParseSignature or Verify panic, and none that was not
// made for it is good for the statement.
func FuzzSignature(f *testing.F) {
	other := someRequest().Statement().Bytes()
	message := append([]byte("x"), other...) // nobody signs this
	for _, p := range []approvaltest.Pen{approvaltest.Ed25519(f), approvaltest.SK(f, approvaltest.Touched), approvaltest.SKECDSA(f, approvaltest.WithPIN), approvaltest.SK(f, approvaltest.Untouched)} {
		f.Add([]byte(p.Over(other)))
	}
	files, _ := filepath.Glob("testdata/*.sig")
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, armored []byte) {
		s, err := approval.ParseSignature(armored)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("says %q", err)
			}
			return
		}
		if _, err := s.Verify(message); !fault.Is(err, fault.Mismatch) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
			t.Errorf("a signature that nobody made: %v", err)
		}
	})
}

// FuzzStatement: what ParseStatement accepts has exactly those bytes.
func FuzzStatement(f *testing.F) {
	for _, p := range everyPlan() {
		p.Requester = requester
		f.Add(approval.NewRequest(p, asked(), time.Hour).Statement().Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := approval.ParseStatement(b)
		switch {
		case err != nil && (!fault.Is(err, fault.Invalid) || strings.ContainsAny(err.Error(), "\n\r\x1b")):
			t.Errorf("says %q", err)
		case err == nil && string(s.Bytes()) != string(b):
			t.Errorf("%q is read as %q", b, s.Bytes())
		}
	})
}

// FuzzDecide: whatever rules, request and votes say, Decide does not panic, gives the
// same answer twice, and never counts more people than there are.
func FuzzDecide(f *testing.F) {
	annas, bens := approvaltest.Ed25519(f), approvaltest.SK(f, approvaltest.Touched)
	r, rule := someRequest(), someRule(1, annas, bens)
	type world struct {
		Request approval.Request
		Rules   []approval.Rule
		Votes   []approval.Vote
		By      []string
	}
	for _, w := range []world{
		{Request: r, Rules: []approval.Rule{rule}, By: []string{anna}, Votes: []approval.Vote{{Signature: annas.Over(r.Statement().Bytes())}}},
		{Request: r, Rules: []approval.Rule{rule, {}}, By: []string{ben}, Votes: []approval.Vote{{Rejected: "no"}, {}}},
	} {
		b, err := json.Marshal(w)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w world
		if json.Unmarshal(b, &w) != nil {
			return
		}
		for i := range w.Votes {
			if i < len(w.By) {
				w.Votes[i].By = w.By[i]
			}
		}
		sound := true
		for _, rule := range w.Rules {
			sound = sound && len(rule.Problems()) == 0
		}
		now := asked().Add(time.Minute)
		d := approval.Decide(w.Request, w.Rules, w.Votes, now)
		again := approval.Decide(w.Request, w.Rules, w.Votes, now)
		one, _ := json.Marshal(d)
		two, _ := json.Marshal(again)
		if string(one) != string(two) {
			t.Errorf("%s and %s", one, two)
		}
		for i, s := range d.Rules {
			if len(s.By) > len(w.Rules[i].Approvers) {
				t.Errorf("%+v of %+v", s, w.Rules[i])
			}
			if sound && d.State == approval.Approved && len(s.By) < 1 {
				t.Errorf("approved by nobody: %+v", d)
			}
		}
		_ = approval.Notices(w.Request, w.Rules, d, now)
		_ = d.Missing()
	})
}
