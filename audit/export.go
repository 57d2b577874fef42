package audit

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// exportFormat is the version of the lines of an export.
const exportFormat = 1

// header is the first line of an export.
type header struct {
	Format int       `json:"format"`
	At     time.Time `json:"at"`
	// Before is the number of the record before the first one here, and Hash the chain's
	// after it; zero: the trail begins here.
	Before uint64 `json:"before"`
	Hash   Hash   `json:"hash"`
	// Last is the last record here, and Checkpoint the number of the checkpoint that ends the
	// export.
	Last       uint64 `json:"last"`
	Checkpoint uint64 `json:"checkpoint"`
	// Keys are the public keys, as audit key prints them. Who verifies should have them
	// from elsewhere.
	Keys string `json:"keys,omitempty"`
}

// What a line of an export can be, beside a record.
type headerLine struct {
	Export header `json:"keyorchAudit"`
}

type segmentLine struct {
	Segment Segment `json:"segment"`
}

type checkpointLine struct {
	Checkpoint Checkpoint `json:"checkpoint"`
}

// The parts of a record's line. It is written and read by hand: so there is one way to
// write it, and nothing can stand in it that verify does not look at.
const (
	lineSeq  = `{"seq":`
	lineHash = `,"hash":"`
	lineBody = `","body":`
	lineSum  = `","sum":"`
)

// recordLine appends the line of a record.
func recordLine(to []byte, seq uint64, hash Hash, body []byte) []byte {
	to = strconv.AppendUint(append(to, lineSeq...), seq, 10)
	to = append(append(append(to, lineHash...), hash.String()...), lineBody...)
	return append(append(to, body...), '}', '\n')
}

// foreignLine appends the line of a record that is not shown: its sum alone.
func foreignLine(to []byte, seq uint64, hash, sum Hash) []byte {
	to = strconv.AppendUint(append(to, lineSeq...), seq, 10)
	to = append(append(append(to, lineHash...), hash.String()...), lineSum...)
	return append(append(to, sum.String()...), '"', '}', '\n')
}

// Export is what is written, and from where.
type Export struct {
	// Head is where the chain was when it was asked for, and Checkpoint one that covers it.
	Head       Head
	Checkpoint Checkpoint
	Keys       Keys
	// From is the first record to write; zero: the first that there is.
	From uint64
	// Shows says which bodies are shown; nil: all. Of the others the sum is written, with
	// which the hashes are followed all the same.
	Shows func(seq uint64, body []byte) bool
}

// Write writes the lines: a header, the records with the checkpoints between them, and at the end
// the checkpoint. It reads the chain block by block. A chain that is broken is written as it is,
// without what cannot be read: verify says what is wrong with it. Faults: those of the ledger;
// Refused when there are no records.
func (x Export) Write(ctx context.Context, from Ledger, to io.Writer) error {
	w := &exporting{Export: x, out: bufio.NewWriterSize(to, 1<<16)}
	if x.From == 0 {
		w.From = x.Head.Archived + 1
	}
	if err := w.checkpoints(ctx, from); err != nil {
		return err
	}
	// Blocks are found by their first records: the one with From may begin before it.
	err := from.Blocks(ctx, 0, func(b Block, err error) error {
		if err != nil || b.Last() < w.From {
			return nil
		}
		return w.block(ctx, b)
	})
	if err != nil && err != errExported {
		return err
	}
	if !w.begun {
		return fault.New(fault.Refused, "export the trail: there are no records from %d to %d", w.From, x.Checkpoint.Seq)
	}
	w.line(checkpointLine{x.Checkpoint})
	return fault.Wrap(fault.Invalid, w.out.Flush(), "write the export")
}

// errExported ends the reading of blocks.
var errExported = errors.New("exported")

type exporting struct {
	Export
	out     *bufio.Writer
	begun   bool
	segment string
	buf     []byte
	// signed are the checkpoints that are still to come.
	signed []Checkpoint
}

func (w *exporting) checkpoints(ctx context.Context, from Ledger) error {
	return from.Checkpoints(ctx, 0, func(c Checkpoint, err error) error {
		if err != nil {
			return nil
		}
		if c.Seq >= w.From && c.Number < w.Checkpoint.Number {
			w.signed = append(w.signed, c)
		}
		return nil
	})
}

func (w *exporting) line(v any) {
	b, err := json.Marshal(v)
	if err == nil {
		_, _ = w.out.Write(append(b, '\n')) // Flush gives the first error
	}
}

func (w *exporting) block(ctx context.Context, b Block) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.First > w.Checkpoint.Seq {
		return errExported
	}
	hash := b.Before
	for i, body := range b.Bodies {
		seq := b.First + uint64(i)
		before := hash
		sum := Sum(body)
		if hash = hash.Next(seq, sum); i == len(b.Bodies)-1 {
			hash = b.After // the same, unless the block was changed: then verify is to see it
		}
		if seq < w.From {
			continue
		}
		if seq > w.Checkpoint.Seq {
			return errExported
		}
		w.begin(b, seq, before)
		if w.Shows == nil || w.Shows(seq, body) {
			w.buf = recordLine(w.buf[:0], seq, hash, body)
		} else {
			w.buf = foreignLine(w.buf[:0], seq, hash, sum)
		}
		if _, err := w.out.Write(w.buf); err != nil {
			return fault.Wrap(fault.Invalid, err, "write the export")
		}
		for len(w.signed) > 0 && w.signed[0].Seq <= seq {
			w.line(checkpointLine{w.signed[0]})
			w.signed = w.signed[1:]
		}
	}
	return nil
}

// begin writes what comes before the first record, and before the first one of a segment.
func (w *exporting) begin(b Block, seq uint64, before Hash) {
	if !w.begun {
		w.begun = true
		h := header{Format: exportFormat, At: time.Now().UTC(), Before: seq - 1, Hash: before, Last: w.Checkpoint.Seq, Checkpoint: w.Checkpoint.Number}
		if pem, err := w.Keys.PEM(); err == nil {
			h.Keys = string(pem)
		}
		w.line(headerLine{h})
	}
	if w.segment != b.Segment.ID {
		w.segment = b.Segment.ID
		w.line(segmentLine{b.Segment})
	}
}

// awaitEvery is how often Await looks.
const awaitEvery = 50 * time.Millisecond

// Await waits until a checkpoint covers everything that was written before it was called,
// and gives it with the head. Unavailable, naming what is missing, when that takes longer than patience.
func Await(ctx context.Context, from Waiter, patience time.Duration) (Head, Checkpoint, error) {
	now, err := from.Now(ctx)
	if err != nil {
		return Head{}, Checkpoint{}, err
	}
	asked := time.Now()
	var seq uint64
	for taken := false; ; {
		waits, err := from.Untaken(ctx, now)
		if err != nil {
			return Head{}, Checkpoint{}, err
		}
		head, err := from.Head(ctx)
		if err != nil {
			return Head{}, Checkpoint{}, err
		}
		if !waits && !taken {
			seq, taken = head.Seq, true
		}
		if taken && head.Checkpoint > 0 && head.Signed >= seq {
			c, err := checkpoint(ctx, from, head.Checkpoint)
			return head, c, err
		}
		if time.Since(asked) > patience {
			return Head{}, Checkpoint{}, late(head, taken, seq, patience)
		}
		select {
		case <-time.After(awaitEvery):
		case <-ctx.Done():
			return Head{}, Checkpoint{}, ctx.Err()
		}
	}
}

// Waiter is a Ledger that says what waits.
type Waiter interface {
	Ledger
	// Now is etcd's revision, and Untaken whether entries of inboxes up to one wait.
	Now(ctx context.Context) (int64, error)
	Untaken(ctx context.Context, upTo int64) (bool, error)
}

func late(h Head, taken bool, seq uint64, patience time.Duration) error {
	switch {
	case !taken:
		return fault.New(fault.Unavailable, "wait for the trail: what was written before has not been appended to it in %s: does a worker run?", patience)
	case seq == 0:
		return fault.New(fault.Unavailable, "wait for the trail: there is none yet: does a worker run?")
	case h.Signed == 0:
		return fault.New(fault.Unavailable, "wait for the trail: it has %d records, and nobody has signed it in %s: does vault answer the worker? Was keyorch bootstrap run with this version?", h.Seq, patience)
	}
	return fault.New(fault.Unavailable, "wait for the trail: record %d is the last one that is signed (%s), and %d came before this was asked for: does vault answer the worker?",
		h.Signed, h.SignedAt.Format(time.RFC3339), seq)
}

func checkpoint(ctx context.Context, from Ledger, number uint64) (Checkpoint, error) {
	var found Checkpoint
	err := from.Checkpoints(ctx, number, func(c Checkpoint, err error) error {
		if err != nil {
			return err
		}
		found = c
		return nil
	})
	if err == nil && found.Number == 0 {
		err = fault.New(fault.Mismatch, "read the trail: checkpoint %d is missing", number)
	}
	return found, err
}

// Read calls see with every record from number first on, with its number. It does not look at
// hashes. What cannot be read is passed over, and named by a Mismatch error at the end. Other faults: those of the
// ledger, and what see gives.
func Read(ctx context.Context, from Ledger, first uint64, see func(seq uint64, r Record) error) error {
	var unread error
	err := from.Blocks(ctx, 0, func(b Block, err error) error {
		if err != nil {
			unread = cmp.Or(unread, err)
			return nil
		}
		for i, body := range b.Bodies {
			seq := b.First + uint64(i)
			if seq < first {
				continue
			}
			var r Record
			if json.Unmarshal(body, &r) != nil {
				unread = cmp.Or(unread, fault.New(fault.Mismatch, "read record %d of the trail: it is broken", seq))
				continue
			}
			if err := see(seq, r); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	return cmp.Or(err, unread)
}

// String is where a record stands, for people.
func (s Segment) String() string {
	return fmt.Sprintf("segment %d (from record %d on, %s)", s.Number, s.First, s.At.UTC().Format(time.RFC3339))
}
