package evidence_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/evidence"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

const (
	worker = "keyorch-worker"
	alice  = "keyorch-operator.alice"
)

// chain is a trail in memory: blocks of three records, and a checkpoint behind each.
type chain struct {
	audit.Ledger // nothing else is asked for
	key          ed25519.PrivateKey
	segment      audit.Segment
	blocks       []audit.Block
	signed       []audit.Checkpoint
}

func (c *chain) Blocks(_ context.Context, from uint64, see func(audit.Block, error) error) error {
	for _, b := range c.blocks {
		if b.First >= from {
			if err := see(b, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *chain) Checkpoints(_ context.Context, from uint64, see func(audit.Checkpoint, error) error) error {
	for _, k := range c.signed {
		if k.Number >= from {
			if err := see(k, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func newChain(t *testing.T, records []audit.Record) *chain {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &chain{key: key, segment: audit.Segment{Number: 1, ID: "one", First: 1, At: at(0)}}
	hash, seq := c.segment.Start(), uint64(0)
	for len(records) > 0 {
		n := min(3, len(records))
		b := audit.Block{Segment: c.segment, First: seq + 1, Before: hash}
		for _, r := range records[:n] {
			body, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			seq++
			hash = hash.Next(seq, audit.Sum(body))
			b.Bodies = append(b.Bodies, body)
		}
		b.After = hash
		k := audit.Checkpoint{Number: uint64(len(c.signed) + 1), Segment: "one", Seq: seq, Hash: hash, At: at(100 + len(c.signed)), Key: "keyorch-audit", Version: 1}
		k.Signature = ed25519.Sign(key, k.Statement())
		c.blocks, c.signed, records = append(c.blocks, b), append(c.signed, k), records[n:]
	}
	return c
}

func (c *chain) keys() audit.Keys { return audit.Keys{1: c.key.Public().(ed25519.PublicKey)} }

func at(n int) time.Time { return time.Date(2026, 3, 1, 2, 0, n, 0, time.UTC) }

func ref(e keychain.Epoch) keychain.Ref {
	return keychain.Ref{Epoch: e, KCV: keychain.KCV(fmt.Sprintf("000000000%d", e))}
}

func enters(n int, id keychain.LinkID, p link.Phase, turn keychain.Turn, from, to keychain.Epoch, confirmed ...link.Confirmation) audit.Record {
	r := audit.Record{Kind: audit.Phase, At: at(n), By: worker, Verb: p.String(), Link: id, Turn: turn, Epoch: to, Campaign: "tonight",
		Entered: &audit.Entered{To: ref(to), Confirmed: confirmed}}
	if from > 0 {
		r.Entered.From = ref(from)
	}
	if p == link.Staging {
		r.Entered.Holders = []audit.Holder{{Node: "a", Site: "x"}, {Node: "b", Site: "y"}}
	}
	if p == link.Steady {
		r.Outcome = "rotated"
	}
	return r
}

func gone(n int, node keychain.NodeID, site keychain.SiteID, epoch keychain.Epoch, turn keychain.Turn) audit.Record {
	return audit.Record{Kind: audit.Receipt, At: at(n), By: "keyorch-agent." + string(site), Verb: "destroyed", Link: "a-b", Node: node, Site: site,
		Epoch: epoch, KCV: ref(epoch).KCV, Turn: turn, Details: map[string]string{"device": "read back"}}
}

func said(node keychain.NodeID, sends bool, packets uint64) link.Confirmation {
	return link.Confirmation{Node: node, Sends: sends, Key: ref(2), Counters: []keychain.Counter{{Epoch: 1, Packets: packets}}}
}

// story is a trail in which a-b gets its first key, and then a second by campaign
// tonight, with a second link beside it.
func story() []audit.Record {
	return []audit.Record{
		{Kind: audit.Declaration, At: at(0), By: alice, Details: map[string]string{"name": "a-b"}},
		enters(1, "a-b", link.Staging, 1, 0, 1), enters(2, "a-b", link.Steady, 2, 0, 1),
		{Kind: audit.Operator, At: at(9), By: alice, Verb: "rotate", Campaign: "tonight", Outcome: "asked", Details: map[string]string{"links": "a-b c-d"}},
		enters(10, "c-d", link.Staging, 1, 4, 5), enters(10, "a-b", link.Staging, 3, 1, 2),
		{Kind: audit.Campaign, At: at(10), By: worker, Verb: "running", Campaign: "tonight"},
		{Kind: audit.Standing, At: at(11), By: alice, Verb: audit.MaintenanceBegan, Site: "z"},
		enters(12, "a-b", link.Switching, 4, 1, 2, said("b", false, 70)), enters(12, "c-d", link.Steady, 4, 0, 5),
		gone(13, "a", "x", 1, 4), enters(14, "a-b", link.Draining, 5, 1, 2, said("a", true, 80)),
		enters(15, "a-b", link.Retiring, 6, 1, 2), enters(16, "a-b", link.Steady, 7, 0, 2, said("b", false, 90)),
		{Kind: audit.Refusal, At: at(16), By: "keyorch-auditor.eve", Verb: "maintenance set", Reason: "no"},
		gone(17, "b", "y", 1, 6), gone(18, "b", "y", 1, 6),
		{Kind: audit.Campaign, At: at(19), By: worker, Verb: "ended", Campaign: "tonight"},
		enters(20, "a-b", link.Staging, 8, 2, 3),
		{Kind: audit.Operator, At: at(21), By: alice, Verb: "apply"}, {Kind: audit.Operator, At: at(22), By: alice, Verb: "apply"},
	}
}

func find(records []audit.Record, w evidence.Wish) (evidence.Found, error) {
	g := evidence.Gather(w)
	for i, r := range records {
		g.Take(uint64(i+1), r)
	}
	return g.Find()
}

// written is the evidence of the last rotation of a-b that has ended.
func written(t *testing.T, records []audit.Record) (*chain, string) {
	t.Helper()
	f, err := find(records, evidence.Wish{Link: "a-b"})
	if err != nil {
		t.Fatal(err)
	}
	c := newChain(t, records)
	var b bytes.Buffer
	if err := f.Write(t.Context(), c, audit.Export{Head: audit.Head{Segment: c.segment}, Keys: c.keys()}, &b); err != nil {
		t.Fatal(err)
	}
	return c, b.String()
}

func verify(text string, keys audit.Keys) (evidence.Case, audit.Proof, error) {
	return evidence.Verify(bufio.NewReader(strings.NewReader(text)), audit.Question{Keys: keys})
}

func TestTheEvidenceOfARotation(t *testing.T) {
	c, text := written(t, story())
	if !evidence.Is(bufio.NewReader(strings.NewReader(text))) || evidence.Is(bufio.NewReader(strings.NewReader(`{"keyorchAudit":{}}`))) {
		t.Error("it is not known by its first line")
	}
	got, proof, err := verify(text, c.keys())
	if err != nil {
		t.Fatal(err, proof.Problems)
	}
	if got.First != 3 || got.Last != 7 || got.Campaign != "tonight" || got.Old != ref(1) || got.New != ref(2) || got.Gone != 1 || got.Outcome != "rotated" {
		t.Errorf("it is about %+v", got)
	}
	if len(got.Phases) != 5 || len(got.Asked) != 3 || len(got.Missing) != 0 || len(got.Receipts) != 3 {
		t.Errorf("phases %d, asked %d, receipts %d, missing %v", len(got.Phases), len(got.Asked), len(got.Receipts), got.Missing)
	}
	if fmt.Sprint(got.Before) != "[{a {1 80}} {b {1 70}}]" || fmt.Sprint(got.After) != "[{a {1 80}} {b {1 90}}]" {
		t.Errorf("counters %v, %v", got.Before, got.After)
	}
	if proof.First != 4 || proof.Last != 18 || proof.Foreign != 4 || !proof.Trusted {
		t.Errorf("the proof is %+v", proof)
	}
	// What is none of its business is not in it.
	for _, no := range []string{`"link":"c-d"`, "maintenance began", "eve", "\"apply\""} {
		if strings.Contains(text, no) {
			t.Errorf("it tells of %s", no)
		}
	}
}

func TestWhichRotationIsMeant(t *testing.T) {
	for _, c := range []struct {
		wish        evidence.Wish
		first, last keychain.Turn
		fault       fault.Kind
	}{
		{wish: evidence.Wish{Link: "a-b"}, first: 3, last: 7},
		{wish: evidence.Wish{Link: "a-b", Turn: 5}, first: 3, last: 7},
		{wish: evidence.Wish{Link: "a-b", Turn: 1}, first: 1, last: 2},
		{wish: evidence.Wish{Link: "a-b", Turn: 9}, fault: fault.Refused},
		{wish: evidence.Wish{Link: "c-d"}, first: 1, last: 4},
		{wish: evidence.Wish{Link: "nothing"}, fault: fault.Invalid},
		{wish: evidence.Wish{Link: "a-b", Campaign: "another"}, fault: fault.Invalid},
	} {
		f, err := find(story(), c.wish)
		if err != nil {
			if fault.Of(err) != c.fault || c.first > 0 {
				t.Errorf("%+v: %v", c.wish, err)
			}
			continue
		}
		if f.First != c.first || f.Last != c.last {
			t.Errorf("%+v: turns %d to %d", c.wish, f.First, f.Last)
		}
	}
}

func TestANodeThatGaveNoReceiptIsNamed(t *testing.T) {
	var without []audit.Record
	for _, r := range story() {
		if r.Kind == audit.Receipt && r.Node == "b" {
			r.By = alice // who may not say that
		}
		without = append(without, r)
	}
	c, text := written(t, without)
	got, _, err := verify(text, c.keys())
	if err != nil || len(got.Missing) != 1 || got.Missing[0].Node != "b" {
		t.Errorf("missing %v, %v", got.Missing, err)
	}
}

// The teeth: whatever is done to the file is found.
func TestTamperingIsFound(t *testing.T) {
	c, text := written(t, story())
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	without := func(part string) string {
		var out []string
		for _, l := range lines {
			if !strings.Contains(l, part) {
				out = append(out, l)
			}
		}
		return strings.Join(out, "")
	}
	other, _ := written(t, story())
	for name, bad := range map[string]string{
		"a receipt was taken out":               without(`"kind":"receipt"`),
		"a confirmation was changed":            strings.Replace(text, `"packets":70`, `"packets":71`, 1),
		"a phase was taken out":                 without(`"verb":"Draining"`),
		"it was cut off":                        strings.Join(lines[:len(lines)-1], ""),
		"it was torn":                           text[:len(text)*2/3],
		"the first line names other turns":      strings.Replace(text, `"first":3`, `"first":1`, 1),
		"the first line names another link":     strings.Replace(text, `"link":"a-b"`, `"link":"a-c"`, 1),
		"the first line names another campaign": strings.Replace(text, `"campaign":"tonight"`, `"campaign":"later"`, 1),
		"something was put into the first line": strings.Replace(text, `"last":7}`, `"last":7,"approval":"ap-1"}`, 1),
	} {
		if bad == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		_, proof, err := verify(bad, c.keys())
		if !fault.Is(err, fault.Mismatch) && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if len(proof.Problems) > 0 && !strings.Contains(err.Error(), proof.Problems[0].What) {
			t.Errorf("%s: %v says nothing of %s", name, err, proof.Problems[0])
		}
	}
	line := 1 + slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, `"packets":70`) })
	if _, _, err := verify(strings.Replace(text, `"packets":70`, `"packets":71`, 1), c.keys()); !strings.Contains(err.Error(), fmt.Sprintf("in line %d: ", line)) {
		t.Errorf("of a change in line %d it says: %v", line, err)
	}
	if _, _, err := verify(text, other.keys()); !fault.Is(err, fault.Mismatch) {
		t.Errorf("with another key: %v", err)
	}
	for name, none := range map[string]string{"nothing": "", "an export": without(evidence.Prefix), "something else": "hello\n"} {
		if _, _, err := verify(none, c.keys()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No name in a file that somebody made leads out of the directory.
func TestUnpackStaysWhereItIs(t *testing.T) {
	const id = "ap-20260301-020000-0123456789abcdef"
	head := func(id, by string) evidence.Case {
		return evidence.Case{Consents: []evidence.Consent{{ID: id, Statement: "yes\n", Signatures: []evidence.Signature{{By: by, Signature: "sig"}}}}}
	}
	files, err := head(id, alice).Unpack()
	if err != nil || len(files) != 2 || files[0].Name != id+".statement" || files[1].Name != id+"."+alice+".sig" || string(files[0].Data) != "yes\n" {
		t.Errorf("got %+v, %v", files, err)
	}
	for _, bad := range []evidence.Case{head("../../x", alice), head(id, "../alice"), head(id, "/etc/passwd"), head("", alice)} {
		if files, err := bad.Unpack(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %+v, %v", bad, files, err)
		}
	}
}

// consented is the story, done on the strength of approvals that the records tell of.
func consented(asked approval.Request, used bool, signatures ...string) []audit.Record {
	all := story()
	id := asked.ID()
	more := []audit.Record{{Kind: audit.Approval, At: at(5), By: asked.Plan.Requester, Verb: "asked", Approval: id,
		Details: map[string]string{"statement": string(asked.Statement().Bytes())}}}
	for _, s := range signatures {
		more = append(more, audit.Record{Kind: audit.Approval, At: at(6), By: "keyorch-operator.bob", Verb: "signed", Approval: id, Details: map[string]string{"signature": s}})
	}
	if used {
		more = append(more, audit.Record{Kind: audit.Approval, At: at(9), By: worker, Verb: "used", Approval: id})
	}
	all[3].Approval = id
	return slices.Concat(all[:3], more, all[3:])
}

func theRequest() approval.Request {
	return approval.NewRequest(approval.Plan{Verb: approval.RotateForced, Links: []approval.Link{{Name: "a-b"}}, IgnoreWindows: true, Requester: alice, Reason: "now"}, at(5), time.Hour)
}

// What somebody only claims to have signed, or to have asked, is no consent.
func TestAFalseConsentProvesNothing(t *testing.T) {
	r := theRequest()
	build := func(records []audit.Record) (evidence.Case, error) {
		f, err := find(records, evidence.Wish{Link: "a-b"})
		if err != nil {
			t.Fatal(err)
		}
		return evidence.Build(f.Head, f.Records)
	}
	got, err := build(consented(r, false, "-----BEGIN SSH SIGNATURE-----\nno\n-----END SSH SIGNATURE-----\n"))
	if err != nil || len(got.Consents) != 1 || len(got.Consents[0].Signatures) != 0 || got.Consents[0].Statement == "" || len(got.Trouble) != 1 {
		t.Errorf("a forged signature: %+v, %v", got.Consents, err)
	}
	if _, err := build(consented(r, true, "no signature")); !fault.Is(err, fault.Mismatch) {
		t.Errorf("used without a good signature: %v", err)
	}
	other := consented(r, false)
	for i := range other {
		if other[i].Verb == "asked" && other[i].Kind == audit.Approval {
			other[i].By = "keyorch-operator.mallory"
		}
	}
	if got, err := build(other); err != nil || got.Consents[0].Statement != "" {
		t.Errorf("words that another wrote count: %+v, %v", got.Consents, err)
	}
}
