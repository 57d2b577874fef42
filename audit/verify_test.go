package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

func verify(data []byte, q audit.Question) (audit.Proof, error) {
	return audit.Verify(bytes.NewReader(data), q)
}

func TestAnExportIsVerified(t *testing.T) {
	w := filled(t, 35)
	data := w.export()
	seen := 0
	proof, err := verify(data, audit.Question{Keys: w.signer.keys(), See: func(seq uint64, body []byte) error {
		var r audit.Record
		must(t, json.Unmarshal(body, &r))
		if seen++; int(seq) != seen || r.By != "keyorch-operator.alice" || r.Reason != fmt.Sprint("because ", seen-1) || r.Revision == 0 {
			t.Errorf("record %d is %+v", seq, r)
		}
		return nil
	}})
	must(t, err)
	if proof.Records != 35 || proof.Last != 35 || proof.Checkpoints < 4 || !proof.Trusted || !proof.Whole || proof.From.After(proof.To) ||
		proof.From.IsZero() || len(proof.Segments) != 1 || proof.End.Seq != 35 || seen != 35 {
		t.Errorf("the proof is %+v", proof)
	}
	proof, err = verify(data, audit.Question{})
	must(t, err)
	if proof.Trusted || !strings.Contains(proof.Keys, "v1 SHA256:") {
		t.Errorf("with the keys of the export itself: %+v", proof)
	}
}

// Each kind of tampering is found, and its place is named.
func TestTamperingIsFound(t *testing.T) {
	w := filled(t, 35)
	good := strings.SplitAfter(string(w.export()), "\n")
	good = good[:len(good)-1]
	at := func(seq int) int {
		for i, l := range good {
			if strings.HasPrefix(l, fmt.Sprintf(`{"seq":%d,`, seq)) {
				return i
			}
		}
		t.Fatalf("record %d is not there", seq)
		return 0
	}
	checkpoints := func() (all []int) {
		for i, l := range good {
			if strings.HasPrefix(l, `{"checkpoint"`) {
				all = append(all, i)
			}
		}
		return all
	}()
	final := len(good) - 1
	other := newSigner(t)
	for _, c := range []struct {
		name string
		do   func(l []string) []string
		want string
		line int // zero: any
	}{
		{"a record is removed", func(l []string) []string { return append(l[:at(17)], l[at(17)+1:]...) }, "record 17 is missing", at(17) + 1},
		{"many are removed", func(l []string) []string { return append(l[:at(12)], l[at(16):]...) }, "records 12 to 15 are missing", at(12) + 1},
		{"a record is changed", replaceIn(at(17), "because 16", "because 61"), "record 17 does not go with its hash", at(17) + 1},
		{"a letter that does not show is changed", replaceIn(at(17), `"kind":`, `"Kind":`), "record 17 does not go with its hash", at(17) + 1},
		{"a field is said twice", replaceIn(at(17), `,"hash"`, `,"seq":18,"hash"`), "the line of a record was changed, after record 16", at(17) + 1},
		{"a space is put in", replaceIn(at(17), `,"hash"`, ` ,"hash"`), "the line of a record was changed", at(17) + 1},
		{"two are reordered", func(l []string) []string { l[at(17)], l[at(18)] = l[at(18)], l[at(17)]; return l }, "record 17 is missing", at(17) + 1},
		{"one is repeated", func(l []string) []string { l[at(18)] = l[at(17)]; return l }, "record 17 stands after record 17", at(18) + 1},
		{"the end is cut off behind a record", func(l []string) []string { return l[:at(33)+1] }, "cut off at the end: after record 33", 0},
		{"the end is cut off behind a checkpoint", func(l []string) []string { return l[:checkpoints[1]+1] }, "cut off at the end: after checkpoint", 0},
		{"it is cut in the middle of a line", func(l []string) []string { l = l[:at(20)+1]; l[at(20)] = l[at(20)][:40]; return l }, "cut off in the middle of a line, after record 19", at(20) + 1},
		{"the last newline is cut off", func(l []string) []string { l[final] = strings.TrimSuffix(l[final], "\n"); return l }, "in the middle of a line", final + 1},
		{"the beginning is cut off", func(l []string) []string { return append(l[:2], l[at(4):]...) }, "records 1 to 3 are missing", 3},
		{"the segment is cut off", func(l []string) []string { return append(l[:1], l[2:]...) }, "record 1 stands in front of every segment", 2},
		{"the signature is forged", forge(final, other), "the signature is not that of version 1", final + 1},
		{"a checkpoint has another hash", replaceIn(final, `"hash":"`, `"hash":"`+"0"), "it is no line of an export", final + 1},
		{"a checkpoint is removed", func(l []string) []string { return append(l[:checkpoints[1]], l[checkpoints[1]+1:]...) }, "checkpoint 2 is missing", 0},
		{"a checkpoint is later than it was", replaceIn(final, `"at":"2`, `"at":"3`), "the signature is not", final + 1},
		{"the whole is hashed anew", rehash(17), "signed another record", 0},
		{"a line is put in", func(l []string) []string { return append(l[:5:5], append([]string{"{}\n"}, l[5:]...)...) }, "it is no line of an export", 6},
		{"something is put behind the end", func(l []string) []string { return append(l, l[at(35)]) }, "record 35 stands after record 35", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := c.do(append([]string{}, good...))
			proof, err := verify([]byte(strings.Join(lines, "")), audit.Question{Keys: w.signer.keys()})
			if !fault.Is(err, fault.Mismatch) || !strings.Contains(fmt.Sprint(proof.Problems), c.want) {
				t.Fatalf("it gives %v, problems %v, want %q", err, proof.Problems, c.want)
			}
			if c.line > 0 && proof.Problems[0].Line != c.line {
				t.Errorf("it names line %d, want %d: %v", proof.Problems[0].Line, c.line, proof.Problems)
			}
		})
	}
	if _, err := verify([]byte(strings.Join(good, "")), audit.Question{Keys: other.keys()}); !fault.Is(err, fault.Mismatch) {
		t.Errorf("with another key: %v", err)
	}
	for _, none := range []string{"", "{}\n", "hello\n", "\x00", good[1], strings.TrimSpace(good[0])} {
		if _, err := verify([]byte(none), audit.Question{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.20q: %v", none, err)
		}
	}
	if _, err := verify(append([]byte(good[0]), bytes.Repeat([]byte("x"), 2<<20)...), audit.Question{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an endless line: %v", err)
	}
}

func replaceIn(line int, old, new string) func([]string) []string {
	return func(l []string) []string {
		if !strings.Contains(l[line], old) {
			panic("there is no " + old + " in " + l[line])
		}
		l[line] = strings.Replace(l[line], old, new, 1)
		return l
	}
}

// forge has a checkpoint signed by somebody else.
func forge(line int, by *signer) func([]string) []string {
	return func(l []string) []string {
		var c struct {
			Checkpoint audit.Checkpoint `json:"checkpoint"`
		}
		if err := json.Unmarshal([]byte(l[line]), &c); err != nil {
			panic(err)
		}
		s, _ := by.Sign(context.Background(), c.Checkpoint.Statement())
		c.Checkpoint.Signature = s.Value
		b, _ := json.Marshal(c)
		l[line] = string(b) + "\n"
		return l
	}
}

// rehash changes a record, and gives all that follow the hashes that they have then.
func rehash(from int) func([]string) []string {
	return func(l []string) []string {
		var hash audit.Hash
		for i, line := range l {
			var r struct {
				Seq  uint64
				Hash audit.Hash
				Body json.RawMessage
			}
			if !strings.HasPrefix(line, `{"seq":`) || json.Unmarshal([]byte(line), &r) != nil {
				continue
			}
			if int(r.Seq) < from {
				hash = r.Hash
				continue
			}
			if int(r.Seq) == from {
				r.Body = bytes.Replace(r.Body, []byte("because"), []byte("despite"), 1)
			}
			hash = hash.Next(r.Seq, audit.Sum(r.Body))
			l[i] = fmt.Sprintf(`{"seq":%d,"hash":"%s","body":%s}`+"\n", r.Seq, hash, r.Body)
		}
		return l
	}
}

// A later export holds an earlier one, and one that is not its continuation is found out.
func TestAnExportExtendsAnEarlierOne(t *testing.T) {
	w := filled(t, 15)
	earlier, err := verify(w.export(), audit.Question{})
	must(t, err)
	w.run()
	w.ledger.put("keyorch-worker", audit.Record{Kind: audit.Operator})
	w.signed()
	w.stop()
	later := w.export()
	proof, err := verify(later, audit.Question{Earlier: &earlier.End})
	must(t, err)
	if !proof.Extends {
		t.Error("it does not say that it extends the earlier one")
	}
	stranger := filled(t, 20)
	if _, err := verify(stranger.export(), audit.Question{Earlier: &earlier.End}); !fault.Is(err, fault.Mismatch) || !strings.Contains(err.Error(), "record 15") {
		t.Errorf("another trail: %v", err)
	}
	short := filled(t, 10)
	if _, err := verify(short.export(), audit.Question{Earlier: &earlier.End}); !fault.Is(err, fault.Mismatch) || !strings.Contains(err.Error(), "does not contain the earlier export") {
		t.Errorf("a shorter trail: %v", err)
	}
}

// What is not shown is covered all the same.
func TestAnExportOfSomeRecords(t *testing.T) {
	w := filled(t, 25)
	h, c := w.signed()
	var out bytes.Buffer
	must(t, audit.Export{Head: h, Checkpoint: c, Keys: w.signer.keys(), From: 8,
		Shows: func(seq uint64, _ []byte) bool { return seq%5 == 0 }}.Write(t.Context(), w.ledger, &out))
	proof, err := verify(out.Bytes(), audit.Question{Keys: w.signer.keys()})
	must(t, err)
	if proof.First != 8 || proof.Records != 18 || proof.Foreign != 14 || proof.Whole {
		t.Errorf("the proof is %+v", proof)
	}
	bad := strings.Replace(out.String(), `"sum":"`, `"sum":"0`, 1)
	if _, err := verify([]byte(bad), audit.Question{}); !fault.Is(err, fault.Mismatch) {
		t.Errorf("a changed sum: %v", err)
	}
}
