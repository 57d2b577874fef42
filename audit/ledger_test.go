package audit_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

// ledger is a chain in memory, kept as etcd keeps it.
type ledger struct {
	mu          sync.Mutex
	rev         int64
	head        []byte
	headAt      int64
	blocks      map[uint64][]byte
	checkpoints map[uint64]audit.Checkpoint
	inbox       []audit.Waiting
	came        chan struct{}
}

func newLedger() *ledger {
	return &ledger{blocks: map[uint64][]byte{}, checkpoints: map[uint64]audit.Checkpoint{}, came: make(chan struct{}, 1)}
}

// put writes records of somebody into their inbox.
func (l *ledger) put(writer string, records ...audit.Record) {
	for i, r := range records {
		records[i].At = cmp.Or(r.At, time.Now().UTC())
	}
	value, err := json.Marshal(records)
	if err != nil {
		panic(err)
	}
	l.putRaw(writer, value)
}

func (l *ledger) putRaw(writer string, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rev++
	l.inbox = append(l.inbox, audit.Waiting{Key: fmt.Sprint(writer, "/", l.rev), Writer: writer, Value: value, Revision: l.rev})
	select {
	case l.came <- struct{}{}:
	default:
	}
}

func (l *ledger) Head(context.Context) (audit.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := audit.Head{Revision: l.headAt}
	if l.headAt == 0 {
		return h, nil
	}
	if json.Unmarshal(l.head, &h) != nil {
		return audit.Head{Revision: l.headAt}, fault.New(fault.Mismatch, "broken")
	}
	h.Revision = l.headAt
	return h, nil
}

func (l *ledger) Inbox(ctx context.Context, _ int64, take func([]audit.Waiting) error) error {
	var after int64
	for {
		l.mu.Lock()
		var fresh []audit.Waiting
		for _, e := range l.inbox {
			if e.Revision > after {
				fresh, after = append(fresh, e), e.Revision
			}
		}
		l.mu.Unlock()
		if len(fresh) > 0 {
			if err := take(fresh); err != nil {
				return err
			}
		}
		select {
		case <-l.came:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *ledger) write(h audit.Head) (audit.Head, error) {
	if h.Revision != l.headAt {
		return audit.Head{}, fault.New(fault.Stale, "moved on")
	}
	doc, err := json.Marshal(h)
	l.rev++
	l.head, l.headAt, h.Revision = doc, l.rev, l.rev
	return h, err
}

func (l *ledger) Append(_ context.Context, h audit.Head, blocks []audit.Block, taken []string) (audit.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, err := l.write(h)
	if err != nil {
		return h, err
	}
	for _, b := range blocks {
		if l.blocks[b.First], err = b.Encode(); err != nil {
			return h, err
		}
	}
	l.inbox = slices.DeleteFunc(l.inbox, func(w audit.Waiting) bool { return slices.Contains(taken, w.Key) })
	return h, nil
}

func (l *ledger) Sign(_ context.Context, h audit.Head, c audit.Checkpoint) (audit.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, err := l.write(h)
	if err == nil {
		l.checkpoints[c.Number] = c
	}
	return h, err
}

func (l *ledger) Blocks(_ context.Context, from uint64, see func(audit.Block, error) error) error {
	l.mu.Lock()
	blocks := maps.Clone(l.blocks)
	l.mu.Unlock()
	for _, first := range slices.Sorted(maps.Keys(blocks)) {
		if first < from {
			continue
		}
		b, err := audit.DecodeBlock(blocks[first])
		if err != nil {
			b.First = first
		}
		if err := see(b, err); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) Checkpoints(_ context.Context, from uint64, see func(audit.Checkpoint, error) error) error {
	l.mu.Lock()
	all := maps.Clone(l.checkpoints)
	l.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if n < from {
			continue
		}
		if err := see(all[n], nil); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) Ends(context.Context) (audit.Block, audit.Checkpoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b audit.Block
	var c audit.Checkpoint
	var err error
	if n := len(l.blocks); n > 0 {
		last := slices.Max(slices.Collect(maps.Keys(l.blocks)))
		if b, err = audit.DecodeBlock(l.blocks[last]); err != nil {
			b.First = last
		}
	}
	for n := range l.checkpoints {
		if n > c.Number {
			c = l.checkpoints[n]
		}
	}
	return b, c, err
}

func (l *ledger) Now(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rev, nil
}

func (l *ledger) Untaken(_ context.Context, upTo int64) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.inbox, func(w audit.Waiting) bool { return w.Revision <= upTo }), nil
}

// signer signs with a key of its own, unless it is away.
type signer struct {
	key  ed25519.PrivateKey
	mu   sync.Mutex
	away bool
}

func newSigner(t testing.TB) *signer {
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	return &signer{key: key}
}

func (s *signer) Name() string { return "keyorch-audit" }

func (s *signer) Sign(_ context.Context, statement []byte) (audit.Signature, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return audit.Signature{}, fault.New(fault.Unavailable, "away")
	}
	return audit.Signature{Key: s.Name(), Version: 1, Value: ed25519.Sign(s.key, statement)}, nil
}

func (s *signer) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *signer) keys() audit.Keys { return audit.Keys{1: s.key.Public().(ed25519.PublicKey)} }

// world is a ledger with its scribe.
type world struct {
	t      testing.TB
	ledger *ledger
	signer *signer
	scribe *audit.Scribe
	stop   func()
	logged *bytes.Buffer
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, ledger: newLedger(), signer: newSigner(t), logged: &bytes.Buffer{}}
	w.scribe = w.newScribe()
	return w
}

func (w *world) newScribe() *audit.Scribe {
	return &audit.Scribe{
		Ledger: w.ledger, Signer: w.signer, Logger: slog.New(slog.NewTextHandler(w.logged, nil)),
		Keys: func(context.Context) (audit.Keys, error) { return w.signer.keys(), nil },
		Pace: audit.Pace{Gather: time.Millisecond, Quiet: 5 * time.Millisecond, AtMost: 20 * time.Millisecond, Idle: time.Hour, Look: time.Hour},
	}
}

// run runs the scribe, again when it fails, until it is stopped.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = w.scribe.Run(ctx)
		}
	}()
	w.stop = func() { cancel(); <-done }
}

func (w *world) head() audit.Head {
	w.t.Helper()
	h, err := w.ledger.Head(w.t.Context())
	must(w.t, err)
	return h
}

// signed waits until everything that was put is in the chain and signed.
func (w *world) signed() (audit.Head, audit.Checkpoint) {
	w.t.Helper()
	h, c, err := audit.Await(w.t.Context(), w.ledger, 10*time.Second)
	must(w.t, err)
	return h, c
}

func (w *world) export() []byte {
	w.t.Helper()
	h, c := w.signed()
	var out bytes.Buffer
	must(w.t, audit.Export{Head: h, Checkpoint: c, Keys: w.signer.keys()}.Write(w.t.Context(), w.ledger, &out))
	return out.Bytes()
}

// filled is a chain of n records with some checkpoints in it.
func filled(t testing.TB, n int) *world {
	w := newWorld(t)
	w.run()
	for i := range n {
		w.ledger.put("keyorch-operator.alice", audit.Record{Kind: audit.Operator, Verb: "rotate", Reason: fmt.Sprint("because ", i)})
		if i%10 == 9 {
			w.signed()
		}
	}
	w.signed()
	w.stop()
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
