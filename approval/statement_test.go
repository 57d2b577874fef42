package approval_test

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

var update = flag.Bool("update", false, "write testdata/words.txt anew")

// everyPlan is a plan of every verb.
func everyPlan() []approval.Plan {
	links := []approval.Link{{Name: "dc2-dc1"}, {Name: "dc1-dc2", Upstream: []keychain.NodeID{"b", "a"}}}
	return []approval.Plan{
		{Verb: approval.RotateForced, Links: links, IgnoreWindows: true, Policy: "nightly", Reason: "leaked\x1b[2J"},
		{Verb: approval.AbortSwitched, Links: []approval.Link{{Name: "dc1-dc2", Campaign: "rotate-1", Epoch: 7}}},
		{Verb: approval.AbortSwitched, About: []string{"campaign rotate-1"}},
		{Verb: approval.Compromise, About: []string{"node a"}, Links: links[:1]},
		{Verb: approval.Revoke, About: []string{"keyorch-agent.dc2"}, Links: links},
		{Verb: approval.Policies, Changes: []approval.Change{{What: "Policy p", Before: `{"drain":"5s"}`}}},
		{Verb: approval.Rules, Changes: []approval.Change{{What: "ApprovalRule b", After: "{}"}, {What: "ApprovalRule a", Before: "{\n}", After: "{2}"}}},
	}
}

func TestStatementsAreReadAsTheyWereWritten(t *testing.T) {
	var all strings.Builder
	digests := map[string]bool{}
	for _, p := range everyPlan() {
		p.Requester = requester
		r := approval.NewRequest(p, asked(), time.Hour)
		b := r.Statement().Bytes()
		all.Write(b)
		s, err := approval.ParseStatement(b)
		if err != nil || string(s.Bytes()) != string(b) || s.Digest != r.Plan.Digest() || s.ID != r.ID() || s.Reason != p.Reason {
			t.Errorf("%v\n%s\nread as %+v", err, b, s)
		}
		if strings.ContainsAny(string(b), "\x1b\r") {
			t.Errorf("a terminal would act on %q", b)
		}
		digests[s.Digest] = true
		if err := approval.ValidID(r.ID()); err != nil {
			t.Error(err)
		}
	}
	if len(digests) != len(everyPlan()) {
		t.Error("two plans have one digest")
	}
	if *update {
		if err := os.WriteFile("testdata/words.txt", []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/words.txt")
	if err != nil || string(want) != all.String() {
		t.Errorf("says\n%s\nwant (%v)\n%s", all.String(), err, want)
	}
}

func TestLongPlansAreCutAndCovered(t *testing.T) {
	p := approval.Plan{Verb: approval.RotateForced, Requester: requester}
	for i := range 200 {
		p.Links = append(p.Links, approval.Link{Name: keychain.LinkID("l" + string(rune('a'+i%26)) + strings.Repeat("x", i/26))})
	}
	whole := p.Sorted()
	less := whole
	less.Links = append(less.Links[:199:199], approval.Link{Name: "zz"})
	if n := len(whole.Words()); n != 52 {
		t.Errorf("%d lines", n)
	}
	if whole.Digest() == less.Digest() {
		t.Error("what the words leave out is not in the digest")
	}
}

// Whatever is changed of a request has another ID, digest or statement.
func TestWhateverIsChangedIsAnotherRequest(t *testing.T) {
	r := someRequest()
	for name, change := range map[string]func(*approval.Request){
		"the verb":  func(r *approval.Request) { r.Plan.Verb = approval.Compromise },
		"the links": func(r *approval.Request) { r.Plan.Links = append(r.Plan.Links, approval.Link{Name: "x"}) },
		"a node": func(r *approval.Request) {
			r.Plan.Links = []approval.Link{{Name: "dc1-dc2", Upstream: []keychain.NodeID{"a"}}}
		},
		"the policy":    func(r *approval.Request) { r.Plan.Policy = "p" },
		"the windows":   func(r *approval.Request) { r.Plan.IgnoreWindows = false },
		"the reason":    func(r *approval.Request) { r.Plan.Reason = "" },
		"the requester": func(r *approval.Request) { r.Plan.Requester = "keyorch-operator" },
		"whom":          func(r *approval.Request) { r.Plan.About = []string{"node x"} },
		"a change":      func(r *approval.Request) { r.Plan.Changes = []approval.Change{{What: "Policy p"}} },
		"the time":      func(r *approval.Request) { r.At = r.At.Add(time.Second) },
		"the end":       func(r *approval.Request) { r.Expires = r.Expires.Add(time.Second) },
	} {
		changed := someRequest()
		change(&changed)
		if changed.ID() == r.ID() || string(changed.Statement().Bytes()) == string(r.Statement().Bytes()) {
			t.Errorf("%s can be changed", name)
		}
	}
}

func TestWhatIsNoStatement(t *testing.T) {
	good := string(someRequest().Statement().Bytes())
	for name, text := range map[string]string{
		"empty": "", "cut": good[:len(good)-1], "a line more": good + "x\n", "a blank at an end": strings.Replace(good, "verb: rotate-force", "verb: rotate-force ", 1),
		"another verb": strings.Replace(good, "rotate-force", "rotate", 1), "another order": strings.Replace(good, "verb: ", "plan: ", 1),
		"another digest": strings.Replace(good, "sha256:", "sha1:", 1), "carriage returns": strings.ReplaceAll(good, "\n", "\r\n"),
		"another zone": strings.Replace(good, "12:00:00Z", "12:00:00+00:00", 1),
	} {
		if _, err := approval.ParseStatement([]byte(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is Over is approved by nobody any more, however long it says that it is good and
// whoever has signed: so its end need not be remembered. A moment before MaxDeadline one may be.
func TestWhatIsOverCannotBeApproved(t *testing.T) {
	annas, bens := approvaltest.Ed25519(t), approvaltest.Ed25519(t)
	rule := someRule(1, annas, bens)
	rule.Deadline = approval.MaxDeadline
	decided := func(r approval.Request, now time.Time) approval.State {
		votes := []approval.Vote{{By: anna, At: r.At, Signature: annas.Over(r.Statement().Bytes())}}
		return approval.Decide(r, []approval.Rule{rule}, votes, now).State
	}
	for _, good := range []time.Duration{-time.Hour, 0, time.Hour, approval.MaxDeadline, 2 * approval.MaxDeadline, 100 * approval.MaxDeadline} {
		r := someRequest()
		r.Expires = r.At.Add(good)
		for _, after := range []time.Duration{-time.Hour, 0, approval.MaxDeadline - time.Second, approval.MaxDeadline, approval.MaxDeadline + 48*time.Hour, 200 * approval.MaxDeadline} {
			over := approval.Over(r.ID(), r.At.Add(after))
			if over != (after > approval.MaxDeadline) {
				t.Errorf("after %v: over is %v", after, over)
			}
			// The clock of who decides may be a day behind that of who forgets.
			if d := decided(r, r.At.Add(after-24*time.Hour)); over && d == approval.Approved {
				t.Errorf("good for %v, after %v: it is over and %s", good, after, d)
			}
		}
	}
	r := someRequest()
	r.Expires = r.At.Add(approval.MaxDeadline)
	if d := decided(r, r.Expires.Add(-time.Second)); d != approval.Approved {
		t.Errorf("at its last moment it is %s", d)
	}
	for _, id := range []string{"", "ap-", "ap-20260231-120000-2e518e240c2f81b6", "something"} {
		if approval.Over(id, asked().AddDate(10, 0, 0)) {
			t.Errorf("%q is over", id)
		}
	}
}
