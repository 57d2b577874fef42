package evidence

import (
	"context"
	"io"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

// Write writes the evidence of what was found: the first line, and the
// trail from its first record up to the first checkpoint behind its last. Head and Keys are those of an export. Faults: as of
// audit.Export; Unavailable when no checkpoint covers the last record yet.
func (f Found) Write(ctx context.Context, from audit.Ledger, x audit.Export, to io.Writer) error {
	line, err := f.Head.Line()
	if err != nil {
		return err
	}
	first, last := f.Records[0].Seq, f.Records[len(f.Records)-1].Seq
	var covers audit.Checkpoint
	err = from.Checkpoints(ctx, 0, func(c audit.Checkpoint, err error) error {
		if err == nil && c.Seq >= last && covers.Number == 0 {
			covers = c
		}
		return nil
	})
	if err != nil {
		return err
	}
	if covers.Number == 0 {
		return fault.New(fault.Unavailable, "write the evidence: no checkpoint covers record %d yet", last)
	}
	x.From, x.Checkpoint = first, covers
	x.Shows = func(seq uint64, _ []byte) bool { return f.Holds(seq) }
	if _, err := to.Write(line); err != nil {
		return fault.Wrap(fault.Invalid, err, "write the evidence")
	}
	return x.Write(ctx, from, to)
}
