package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Waiting is an entry of an inbox.
type Waiting struct {
	Key      string
	Writer   string
	Value    []byte
	Revision int64
}

// Ledger is where the chain is kept. What it writes is guarded by the head that it was
// made from, and Stale says that the head has moved on. Other faults: Unavailable, Refused,
// Mismatch for what cannot be read.
type Ledger interface {
	Head(ctx context.Context) (Head, error)
	// Inbox calls take with what waits and then with what comes, in the order of revisions,
	// until ctx ends or take fails. After is the revision up to which inboxes were taken.
	Inbox(ctx context.Context, after int64, take func([]Waiting) error) error
	// Append writes blocks and the head after them, and deletes what was taken. The head
	// comes back with its new revision.
	Append(ctx context.Context, h Head, blocks []Block, taken []string) (Head, error)
	// Sign writes a checkpoint and the head that knows of it.
	Sign(ctx context.Context, h Head, c Checkpoint) (Head, error)
	// Blocks calls see with each block whose first record is number from or later, in their order. One
	// that cannot be read comes with its error, and with First as its key has it.
	Blocks(ctx context.Context, from uint64, see func(Block, error) error) error
	// Checkpoints is likewise, from a checkpoint's number on.
	Checkpoints(ctx context.Context, from uint64, see func(Checkpoint, error) error) error
	// Ends are the last block and the last checkpoint that are stored; zero: none.
	Ends(ctx context.Context) (Block, Checkpoint, error)
}

// Pace is how often the scribe does what it does.
type Pace struct {
	// Gather is how long it waits for more before it appends, Quiet how long nothing must
	// come before it signs, and AtMost how long it lets unsigned records stand at most.
	Gather, Quiet, AtMost time.Duration
	// Idle is how often it signs when there is nothing new, so that an end that was cut off
	// shows by its time. Look is how often it reads the whole chain.
	Idle, Look time.Duration
}

// DefaultPace is the pace of a worker.
func DefaultPace() Pace {
	return Pace{Gather: 300 * time.Millisecond, Quiet: 2 * time.Second, AtMost: 10 * time.Second, Idle: 10 * time.Minute, Look: time.Hour}
}

// Scribe takes the inboxes and appends them to the chain. One runs at a time; a second does
// no harm.
type Scribe struct {
	Ledger Ledger
	Signer Signer
	// Keys gives the public keys of the signer, for looking at old checkpoints; nil or an error:
	// their signatures are not looked at.
	Keys   func(ctx context.Context) (Keys, error)
	Logger *slog.Logger
	Pace   Pace

	// seen is the furthest head that this scribe has written: whatever stands there later
	// must be further.
	seen Head
}

// Run works until ctx ends or something fails: then it is run again. A chain that is found
// to be broken does not stop it: it begins a new segment, whose first record says what was found.
func (s *Scribe) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &writing{Scribe: s, signed: make(chan signing, 1), found: make(chan []string, 1)}
	var err error
	if w.head, err = s.open(ctx); err != nil {
		return err
	}
	came, failed := make(chan []Waiting), make(chan error, 1)
	go func() {
		failed <- s.Ledger.Inbox(ctx, w.head.Taken, func(entries []Waiting) error {
			select {
			case came <- entries:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return w.loop(ctx, came, failed)
}

// writing is one run of the scribe. One goroutine has it.
type writing struct {
	*Scribe
	head     Head
	waiting  []Waiting
	size     int
	since    time.Time // the first of waiting came
	appended time.Time // when the last record was
	unsigned time.Time // when the first one that is not signed was
	signing  bool
	retry    time.Time // not to sign before
	tries    int
	signed   chan signing
	looking  bool
	looked   time.Time
	found    chan []string
}

// signing is what came of having a checkpoint signed.
type signing struct {
	checkpoint Checkpoint
	err        error
}

func (w *writing) loop(ctx context.Context, came <-chan []Waiting, failed <-chan error) error {
	tick := time.NewTicker(max(w.Pace.Gather, time.Millisecond))
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-failed:
			return err
		case entries := <-came:
			err = w.take(ctx, entries)
		case got := <-w.signed:
			err = w.put(ctx, got)
		case what := <-w.found:
			w.looking = false
			what = slices.DeleteFunc(what, w.head.known)
			err = w.breaks(ctx, what)
		case <-tick.C:
			if len(w.waiting) > 0 && time.Since(w.since) >= w.Pace.Gather {
				err = w.flush(ctx)
			}
			w.maybeSign(ctx)
			w.maybeLook(ctx)
		}
		if err != nil {
			return err
		}
	}
}

const (
	// takeBytes and takeEntries are the most that is appended in one transaction.
	takeBytes   = 512 << 10
	takeEntries = 1000
)

// take gathers entries, and appends when there are many.
func (w *writing) take(ctx context.Context, entries []Waiting) error {
	for _, e := range entries {
		if len(w.waiting) == 0 {
			w.since = time.Now()
		}
		w.waiting, w.size = append(w.waiting, e), w.size+len(e.Value)
		if w.size < takeBytes && len(w.waiting) < takeEntries {
			continue
		}
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// flush appends what has been gathered.
func (w *writing) flush(ctx context.Context) error {
	b := builder{head: w.head}
	var taken []string
	for _, e := range w.waiting {
		for _, body := range bodies(e) {
			b.add(body)
		}
		taken = append(taken, e.Key)
		b.head.Taken = max(b.head.Taken, e.Revision)
	}
	w.waiting, w.size = nil, 0
	return w.append(ctx, b, taken)
}

func (w *writing) append(ctx context.Context, b builder, taken []string) error {
	head, err := w.Ledger.Append(ctx, b.head, b.blocks, taken)
	if err != nil {
		return err
	}
	if head.Seq > w.head.Seq {
		w.appended = time.Now()
		if w.unsigned.IsZero() {
			w.unsigned = w.appended
		}
	}
	w.head, w.seen = head, head
	return nil
}

// bodies are the records of an entry as they enter the chain. One that cannot be read is
// not lost: a record says that it was there.
func bodies(e Waiting) [][]byte {
	var records []Record
	err := json.Unmarshal(e.Value, &records)
	if err == nil && len(records) > MaxTogether {
		err = fmt.Errorf("it has %d records, at most %d fit", len(records), MaxTogether)
	}
	var out [][]byte
	for _, r := range records {
		r.By, r.Revision = e.Writer, e.Revision
		body, bad := json.Marshal(r)
		if bad != nil || len(body) > MaxRecord || err != nil {
			return unreadable(e)
		}
		out = append(out, body)
	}
	if err != nil {
		return unreadable(e)
	}
	return out
}

func unreadable(e Waiting) [][]byte {
	sum := Sum(e.Value)
	body, err := json.Marshal(Record{Kind: Trail, At: time.Now().UTC(), By: e.Writer, Revision: e.Revision, Verb: UnreadableEntry,
		Details: map[string]string{"sha256": hex.EncodeToString(sum[:]), "bytes": fmt.Sprint(len(e.Value))}})
	if err != nil {
		return nil
	}
	return [][]byte{body}
}

// breaks begins a new segment, which says what was found; nothing: it does not.
func (w *writing) breaks(ctx context.Context, found []string) error {
	head, records := w.head, [][]byte{}
	now := time.Now().UTC()
	for _, what := range found {
		w.Logger.ErrorContext(ctx, "the audit trail is broken", "found", what)
		body, err := json.Marshal(Record{Kind: Trail, At: now, Verb: BreakFound, Reason: what})
		if err != nil {
			return fault.Wrap(fault.Unknown, err, "audit: write down a break")
		}
		records = append(records, body)
		head.Breaks = append(head.Breaks[:len(head.Breaks):len(head.Breaks)], Break{At: now, Seq: head.Seq + 1, What: what})
	}
	if len(found) == 0 {
		return nil
	}
	head.Breaks = head.Breaks[max(0, len(head.Breaks)-maxBreaks):]
	b := builder{head: head.begin(now)}
	for _, body := range records {
		b.add(body)
	}
	return w.append(ctx, b, nil)
}

// begin is h at the beginning of the next segment.
func (h Head) begin(now time.Time) Head {
	h.Segment = Segment{Number: h.Segment.Number + 1, ID: rand.Text(), First: h.Seq + 1, At: now}
	h.Hash = h.Segment.Start()
	return h
}

// maybeSign has the end of the chain signed when it is time.
func (w *writing) maybeSign(ctx context.Context) {
	now := time.Now()
	fresh := w.head.Seq > w.head.Signed
	if fresh && w.unsigned.IsZero() {
		w.unsigned = now // left over by who led before
	}
	due := fresh && (now.Sub(w.appended) >= w.Pace.Quiet || now.Sub(w.unsigned) >= w.Pace.AtMost) ||
		!fresh && now.Sub(w.head.SignedAt) >= w.Pace.Idle
	if w.signing || w.head.Seq == 0 || !due || now.Before(w.retry) {
		return
	}
	w.signing = true
	head := w.head
	go func() {
		c, err := sign(ctx, w.Signer, head, time.Now())
		w.signed <- signing{c, err}
	}()
}

// put writes a checkpoint. That nobody signs stops nothing: the chain goes on.
func (w *writing) put(ctx context.Context, got signing) error {
	w.signing = false
	if got.err != nil {
		w.tries++
		w.retry = time.Now().Add(min(time.Minute, time.Second<<min(w.tries, 6)))
		w.Logger.WarnContext(ctx, "the audit trail has no new checkpoint", "error", got.err)
		return nil
	}
	w.tries = 0
	head := w.head
	if got.checkpoint.Segment != head.Segment.ID {
		return nil // a new one has begun meanwhile, whose end is signed next
	}
	head.Signed, head.SignedAt, head.Checkpoint = got.checkpoint.Seq, got.checkpoint.At, got.checkpoint.Number
	head, err := w.Ledger.Sign(ctx, head, got.checkpoint)
	if err != nil {
		return err
	}
	w.head, w.seen = head, head
	if w.unsigned = (time.Time{}); head.Seq > head.Signed {
		w.unsigned = time.Now()
	}
	return nil
}

// maybeLook reads the whole chain when it is time.
func (w *writing) maybeLook(ctx context.Context) {
	if w.looking || w.head.Seq == 0 || !w.looked.IsZero() && time.Since(w.looked) < w.Pace.Look {
		return
	}
	w.looking, w.looked = true, time.Now()
	go func() {
		found, err := w.Scribe.look(ctx)
		if err != nil {
			w.Logger.WarnContext(ctx, "the audit trail could not be looked through", "error", err)
		}
		w.found <- found
	}()
}
