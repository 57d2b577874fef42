package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// open reads the head, and compares it with what is stored and with what this scribe wrote
// before. A chain that has not begun begins here; one whose end does not fit goes on with a new
// segment.
func (s *Scribe) open(ctx context.Context) (Head, error) {
	head, last, checkpoint, what, err := s.ends(ctx)
	if err != nil {
		return Head{}, err
	}
	if what == "" {
		what = s.misfit(head, last, checkpoint)
	}
	if what == "" && head.Seq > 0 {
		s.seen = head
		return head, nil
	}
	// Numbers are never used twice, whatever the head says.
	head.Seq = max(head.Seq, last.Last(), checkpoint.Seq, s.seen.Seq)
	head.Checkpoint = max(head.Checkpoint, checkpoint.Number, s.seen.Checkpoint)
	head.Signed = min(head.Signed, head.Seq)
	head.Segment.Number = max(head.Segment.Number, last.Segment.Number, s.seen.Segment.Number)
	head.Taken = max(head.Taken, s.seen.Taken)
	w := &writing{Scribe: s, head: head}
	if what == "" {
		w.head = head.begin(time.Now().UTC())
		return w.head, nil
	}
	err = w.breaks(ctx, []string{what})
	return w.head, err
}

// ends reads the head, the last block and the last checkpoint so that they belong together. What
// is not empty when one of them cannot be read.
func (s *Scribe) ends(ctx context.Context) (head Head, last Block, c Checkpoint, what string, err error) {
	for range 20 {
		what = ""
		if head, err = s.Ledger.Head(ctx); fault.Is(err, fault.Mismatch) {
			what, err = "the head cannot be read", nil
		}
		if err != nil {
			return head, last, c, "", err
		}
		if last, c, err = s.Ledger.Ends(ctx); fault.Is(err, fault.Mismatch) {
			what, err = err.Error(), nil
		}
		if err != nil {
			return head, last, c, "", err
		}
		again, err := s.Ledger.Head(ctx)
		if err != nil && !fault.Is(err, fault.Mismatch) {
			return head, last, c, "", err
		}
		if again.Revision == head.Revision {
			return head, last, c, what, nil
		}
	}
	return head, last, c, "", fault.New(fault.Unavailable, "audit: the head of the chain changes all the time: is there another scribe?")
}

// misfit is what does not fit together at the end of the chain, or "".
func (s *Scribe) misfit(head Head, last Block, c Checkpoint) string {
	switch {
	case head.Seq < s.seen.Seq:
		return fmt.Sprintf("the head was put back: it is at record %d, and was at %d", head.Seq, s.seen.Seq)
	case head.Seq == s.seen.Seq && head.Seq > 0 && head.Hash != s.seen.Hash:
		return fmt.Sprintf("the head was changed: it has another hash of record %d", head.Seq)
	case head.Revision == 0 && last.First > 0:
		return fmt.Sprintf("the head is missing, and records up to %d are there", last.Last())
	case head.Revision == 0 && c.Number > 0:
		return fmt.Sprintf("the chain is missing, and checkpoint %d of record %d is there", c.Number, c.Seq)
	case head.Revision == 0:
		return ""
	case head.Seq > head.Archived && last.First == 0:
		return fmt.Sprintf("there are no records, and the head is at %d", head.Seq)
	case last.First > 0 && (last.Last() != head.Seq || last.After != head.Hash):
		return fmt.Sprintf("the head is at record %d, and the last block ends with record %d or another hash", head.Seq, last.Last())
	case c.Seq > head.Seq:
		return fmt.Sprintf("checkpoint %d is of record %d, and the head is at %d", c.Number, c.Seq, head.Seq)
	case c.Number != head.Checkpoint:
		return fmt.Sprintf("the last checkpoint is number %d, and the head knows of %d", c.Number, head.Checkpoint)
	}
	return ""
}

// look reads the whole chain and gives what is wrong with it.
func (s *Scribe) look(ctx context.Context) ([]string, error) {
	head, err := s.Ledger.Head(ctx)
	if err != nil || head.Seq == 0 {
		return nil, err
	}
	var keys Keys
	if s.Keys != nil {
		keys, _ = s.Keys(ctx) // Vault is away: another time
	}
	l := look{head: head, keys: keys, before: head.Archived}
	if err := l.checkpoints(ctx, s.Ledger); err != nil {
		return nil, err
	}
	if err := l.blocks(ctx, s.Ledger); err != nil {
		return nil, err
	}
	if len(l.found) == 0 {
		return nil, nil
	}
	// What was archived meanwhile is not missing.
	again, err := s.Ledger.Head(ctx)
	if err != nil || again.Archived != head.Archived {
		return nil, err
	}
	return l.found, nil
}

// look is one reading of the chain.
type look struct {
	head   Head
	keys   Keys
	found  []string
	before uint64 // the last record that was seen
	hash   Hash
	// signed are the checkpoints that have not been reached yet.
	signed []Checkpoint
	// torn says that what was seen last could not be read: where it ends is not known.
	torn bool
}

func (l *look) find(format string, a ...any) {
	if len(l.found) < maxBreaks {
		l.found = append(l.found, fmt.Sprintf(format, a...))
	}
}

// checkpoints reads them. They are small, and what is archived takes its own along.
func (l *look) checkpoints(ctx context.Context, from Ledger) error {
	number := uint64(0)
	err := from.Checkpoints(ctx, 0, func(c Checkpoint, err error) error {
		if c.Number > l.head.Checkpoint {
			return nil // it came later
		}
		switch {
		case err != nil:
			l.find("checkpoint %d cannot be read", c.Number)
		case c.Number != number+1 && (number > 0 || l.head.Archived == 0):
			l.find("%s missing", span("checkpoint", number+1, c.Number-1))
		case l.keys != nil && l.keys.Check(c) != nil:
			l.find("%v", l.keys.Check(c))
		case c.Seq <= l.head.Seq && c.Seq > l.head.Archived:
			l.signed = append(l.signed, c)
		}
		number = c.Number
		return nil
	})
	if err == nil && number < l.head.Checkpoint {
		l.find("%s missing", span("checkpoint", number+1, l.head.Checkpoint))
	}
	return err
}

func (l *look) blocks(ctx context.Context, from Ledger) error {
	err := from.Blocks(ctx, l.head.Archived+1, func(b Block, err error) error {
		if b.First > l.head.Seq {
			return nil
		}
		l.block(b, err)
		return ctx.Err()
	})
	if err == nil && l.before < l.head.Seq && !l.torn {
		l.find("%s missing", span("record", l.before+1, l.head.Seq))
	}
	return err
}

func (l *look) block(b Block, err error) {
	if err != nil {
		l.find("the block from record %d on cannot be read", b.First)
		l.before, l.hash, l.torn = b.First, Hash{}, true
		return
	}
	begins := b.First == b.Segment.First
	// The numbers in front of a later segment need not be there: it says itself what was
	// found.
	gap := b.First != l.before+1 && !l.torn && (!begins || b.Segment.Number == 1)
	switch l.torn = false; {
	case gap:
		l.find("%s missing", span("record", l.before+1, b.First-1))
	case begins && b.Before != b.Segment.Start():
		l.find("record %d: its segment begins with another hash", b.First)
	case !begins && l.hash != (Hash{}) && b.Before != l.hash:
		l.find("record %d does not follow record %d: one of them was changed", b.First, l.before)
	}
	if err := b.Check(); err != nil {
		l.find("%v", err)
	}
	hash := b.Before
	for i, body := range b.Bodies {
		seq := b.First + uint64(i)
		hash = hash.Next(seq, Sum(body))
		for len(l.signed) > 0 && l.signed[0].Seq <= seq {
			if c := l.signed[0]; c.Seq == seq && (c.Hash != hash || c.Segment != b.Segment.ID) {
				l.find("checkpoint %d is of another record %d", c.Number, c.Seq)
			}
			l.signed = l.signed[1:]
		}
	}
	l.before, l.hash = b.Last(), b.After
}

// span names things by their numbers, with "is" or "are".
func span(what string, from, to uint64) string {
	if from == to {
		return fmt.Sprintf("%s %d is", what, from)
	}
	return fmt.Sprintf("%ss %d to %d are", what, from, to)
}
