package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

func (w *world) records() (all []audit.Record) {
	w.t.Helper()
	must(w.t, audit.Read(w.t.Context(), w.ledger, 0, func(_ uint64, r audit.Record) error { all = append(all, r); return nil }))
	return all
}

func TestWhoWroteIsTakenFromTheKey(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.ledger.put("keyorch-operator.mallory", audit.Record{Kind: audit.Operator, By: "keyorch-operator.alice", Revision: 7})
	w.ledger.putRaw("keyorch-agent.x", []byte(`[{"kind":"receipt","BY":"root","by":"root","revision":5}]`))
	w.signed()
	w.stop()
	for _, r := range w.records() {
		if r.By != "keyorch-operator.mallory" && r.By != "keyorch-agent.x" || r.Revision > 2 {
			t.Errorf("it says %+v", r)
		}
	}
}

func TestWhatCannotBeReadIsWrittenDown(t *testing.T) {
	w := newWorld(t)
	w.run()
	many := "[" + strings.Repeat("{},", audit.MaxTogether) + "{}]"
	for _, raw := range []string{"", "hello", "{}", `[{"kind":1}]`, many} {
		w.ledger.putRaw("keyorch-agent.x", []byte(raw))
	}
	w.ledger.put("keyorch-agent.x", audit.Record{Kind: audit.Receipt})
	w.signed()
	w.stop()
	all := w.records()
	if len(all) != 6 || all[5].Kind != audit.Receipt {
		t.Fatalf("the trail is %+v", all)
	}
	for _, r := range all[:5] {
		if r.Verb != audit.UnreadableEntry || r.By != "keyorch-agent.x" || r.Details["sha256"] == "" {
			t.Errorf("it says %+v", r)
		}
	}
}

// Nobody signs for a while: the chain goes on, and is signed later.
func TestTheChainGoesOnWithoutASigner(t *testing.T) {
	w := newWorld(t)
	w.signer.setAway(true)
	w.run()
	w.ledger.put("keyorch-worker", audit.Record{Kind: audit.Operator})
	until(t, "the record is appended", func() bool { return w.head().Seq == 1 })
	if _, _, err := audit.Await(t.Context(), w.ledger, 100*time.Millisecond); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "vault") {
		t.Errorf("waiting for a signature gives %v", err)
	}
	w.signer.setAway(false)
	w.signed()
	w.stop()
	if h := w.head(); h.Signed != 1 {
		t.Errorf("signed up to %d", h.Signed)
	}
}

func TestOfTwoScribesEachRecordIsWrittenOnce(t *testing.T) {
	w := newWorld(t)
	other := &world{t: t, ledger: w.ledger, signer: w.signer, logged: w.logged}
	other.scribe = w.newScribe()
	w.ledger.put("keyorch-worker", audit.Record{Kind: audit.Operator})
	w.run()
	w.signed()
	other.run()
	for i := range 50 {
		w.ledger.put("keyorch-worker", audit.Record{Kind: audit.Operator, Reason: fmt.Sprint(i)})
	}
	w.signed()
	w.stop()
	other.stop()
	said := map[string]int{}
	for _, r := range w.records() {
		said[r.Reason]++
	}
	for i := range 50 {
		if said[fmt.Sprint(i)] != 1 {
			t.Errorf("%d is written %d times", i, said[fmt.Sprint(i)])
		}
	}
}

// Somebody with every right on etcd changes the chain: the scribe begins a new segment,
// and whoever verifies sees it.
func TestABreakIsFoundAndNotPaperedOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		tamper func(l *ledger)
		want   string
		live   bool // the scribe runs meanwhile
	}{
		{"the head is put back", func(l *ledger) {
			h, _ := l.Head(context.Background())
			h.Seq, h.Signed = 3, 3
			l.rev++
			l.head, _ = json.Marshal(h)
			l.headAt = l.rev
		}, "the head", false},
		{"the head is put back while it runs", func(l *ledger) {
			h, _ := l.Head(context.Background())
			h.Seq, h.Signed = 3, 3
			l.mu.Lock()
			defer l.mu.Unlock()
			l.rev++
			l.head, _ = json.Marshal(h)
			l.headAt = l.rev
		}, "the head was put back: it is at record 3, and was at 25", true},
		{"the head is deleted", func(l *ledger) { l.head, l.headAt = nil, 0 }, "the head is missing", false},
		{"the head is garbage", func(l *ledger) { l.head = []byte("{") }, "the head cannot be read", false},
		{"the last block is deleted", func(l *ledger) { b, _, _ := l.Ends(context.Background()); delete(l.blocks, b.First) }, "the last block ends with record", false},
		{"the first block is deleted", func(l *ledger) { delete(l.blocks, 1) }, "are missing", false},
		{"a block is garbage", func(l *ledger) { l.blocks[1] = []byte("x") }, "cannot be read", false},
		{"a block is changed", func(l *ledger) {
			b, err := audit.DecodeBlock(l.blocks[1])
			if err != nil {
				panic(err)
			}
			b.Bodies[0] = []byte(`{"kind":"operator"}`)
			l.blocks[1], _ = b.Encode()
		}, "at least one of them was changed", false},
		{"a checkpoint is forged", func(l *ledger) {
			c := l.checkpoints[1]
			c.Hash[0]++
			l.checkpoints[1] = c
		}, "the signature is not that", false},
		{"a checkpoint is deleted", func(l *ledger) { delete(l.checkpoints, 2) }, "checkpoint 2 is missing", false},
		{"the first checkpoint is deleted", func(l *ledger) { delete(l.checkpoints, 1) }, "checkpoint 1 is missing", false},
		{"all checkpoints are deleted", func(l *ledger) { clear(l.checkpoints) }, "the last checkpoint is number 0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := filled(t, 25)
			if c.live {
				w.run()
				w.ledger.put("keyorch-worker")
				time.Sleep(20 * time.Millisecond)
			}
			c.tamper(w.ledger)
			if !c.live {
				w.scribe = w.newScribe() // it remembers nothing
				w.run()
			}
			w.ledger.put("keyorch-operator.alice", audit.Record{Kind: audit.Operator, Verb: "afterwards"})
			until(t, "the break is written down", func() bool { h, err := w.ledger.Head(t.Context()); return err == nil && len(h.Breaks) > 0 })
			if got := w.head().Breaks[0].What; !strings.Contains(got, c.want) {
				t.Errorf("it found %q, want %q", got, c.want)
			}
			w.signed()
			w.stop()
			data := w.export()
			if !strings.Contains(string(data), audit.BreakFound) || !strings.Contains(string(data), "afterwards") {
				t.Error("the export does not say what was found, or does not go on")
			}
			proof, err := verify(data, audit.Question{Keys: w.signer.keys()})
			if !fault.Is(err, fault.Mismatch) || !strings.Contains(fmt.Sprint(proof.Problems), "segment 2 begins") {
				t.Errorf("verify gives %v: %v", err, proof.Problems)
			}
			breaks := len(w.head().Breaks)
			w.scribe = w.newScribe()
			w.run()
			w.ledger.put("keyorch-operator.alice", audit.Record{Kind: audit.Operator})
			w.signed()
			time.Sleep(30 * time.Millisecond)
			w.stop()
			if got := len(w.head().Breaks); got != breaks {
				t.Errorf("what is known was found again: %+v", w.head().Breaks)
			}
		})
	}
}

// A whole chain has no break, however often it is looked at.
func TestAWholeChainHasNoBreak(t *testing.T) {
	w := filled(t, 25)
	for range 3 {
		w.scribe = w.newScribe()
		w.scribe.Pace.Look = time.Millisecond
		w.run()
		w.ledger.put("keyorch-worker", audit.Record{Kind: audit.Operator})
		w.signed()
		time.Sleep(20 * time.Millisecond)
		w.stop()
	}
	if h := w.head(); len(h.Breaks) != 0 || h.Seq != 28 {
		t.Errorf("the head is %+v", h)
	}
}
