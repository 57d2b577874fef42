package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Question is what an export is to be verified against.
type Question struct {
	// Keys are the public keys; nil: those that the export brings along.
	Keys Keys
	// Earlier is where an earlier export ended that this one must contain; nil: none.
	Earlier *End
	// See is called with each record that is shown, after its hash was followed; nil: it
	// is not.
	See func(seq uint64, body []byte) error
}

// maxLine is the longest line of an export, in bytes.
const maxLine = MaxRecord + 64<<10

// Verify reads an export line by line, and needs the same memory however long it is. It goes
// on behind what is wrong. Faults: Invalid when it is no export at all; Mismatch when something is wrong, which the
// Proof has in full; what See gives.
func Verify(r io.Reader, q Question) (Proof, error) {
	v := &verifying{Question: q, in: bufio.NewReaderSize(r, 1<<16)}
	if err := v.run(); err != nil {
		return v.proof, err
	}
	return v.proof, v.proof.Fault()
}

type verifying struct {
	Question
	in    *bufio.Reader
	proof Proof
	line  int
	long  []byte // a line that does not fit into in

	header  header
	segment Segment
	seq     uint64
	hash    Hash
	number  uint64 // of the last checkpoint
	ended   bool   // the last line was a checkpoint
	clean   uint64 // the last record that a good checkpoint covers
	last    []byte // the last body
	sure    bool   // Earlier was found
}

func (v *verifying) problem(seq uint64, format string, a ...any) {
	if len(v.proof.Problems) == maxProblems {
		v.proof.More++
		return
	}
	v.proof.Problems = append(v.proof.Problems, Problem{v.line, seq, fmt.Sprintf(format, a...)})
}

func (v *verifying) run() error {
	if err := v.first(); err != nil {
		return err
	}
	for {
		line, whole, err := v.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !whole {
			v.problem(0, "it is cut off in the middle of a line, after record %d", v.seq)
			break
		}
		if err := v.one(line); err != nil {
			return err
		}
	}
	v.end()
	return nil
}

// next is the next line, without its end; whole says that it has one.
func (v *verifying) next() (line []byte, whole bool, err error) {
	v.line++
	v.long = v.long[:0]
	for {
		part, err := v.in.ReadSlice('\n')
		switch {
		case err == nil && len(v.long) == 0:
			return part[:len(part)-1], true, nil
		case err == nil:
			v.long = append(v.long, part...)
			return v.long[:len(v.long)-1], true, nil
		case errors.Is(err, bufio.ErrBufferFull) && len(v.long) < maxLine:
			v.long = append(v.long, part...)
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, false, fault.New(fault.Invalid, "verify the trail: line %d is longer than any of an export", v.line)
		case errors.Is(err, io.EOF) && len(v.long)+len(part) == 0:
			return nil, false, io.EOF
		case errors.Is(err, io.EOF):
			return nil, false, nil
		default:
			return nil, false, fault.Wrap(fault.Invalid, err, "verify the trail: read line %d", v.line)
		}
	}
}

// strictly reads a line that is written in the one way in which v is written.
func strictly[T any](line []byte) (T, bool) {
	var v T
	if json.Unmarshal(line, &v) != nil {
		return v, false
	}
	again, err := json.Marshal(v)
	return v, err == nil && bytes.Equal(again, line)
}

// first reads the header.
func (v *verifying) first() error {
	line, whole, err := v.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, ok := strictly[headerLine](line)
	if err != nil || !whole || !ok {
		return fault.New(fault.Invalid, "verify the trail: this is no export: the first line is not what keyorch audit export begins with")
	}
	v.header = h.Export
	if v.header.Format != exportFormat {
		return fault.New(fault.Invalid, "verify the trail: the export has format %d, and this program knows %d: use a newer one", v.header.Format, exportFormat)
	}
	v.proof.Trusted = v.Keys != nil
	if v.Keys == nil {
		if v.Keys, err = ParseKeys([]byte(v.header.Keys)); err != nil {
			return fault.Wrap(fault.Invalid, err, "verify the trail: the export brings no keys along: give them with --key")
		}
	}
	v.proof.Keys = v.Keys.Fingerprints()
	v.seq, v.hash = v.header.Before, v.header.Hash
	v.proof.First = v.seq + 1
	v.contains(v.seq, v.hash)
	return nil
}

// contains notes where the earlier export ended.
func (v *verifying) contains(seq uint64, hash Hash) {
	if v.Earlier == nil || seq != v.Earlier.Seq {
		return
	}
	if hash != v.Earlier.Hash {
		v.problem(seq, "record %d is another one than in the earlier export: something before it was changed", seq)
		return
	}
	v.sure = true
}

func (v *verifying) one(line []byte) error {
	if bytes.HasPrefix(line, []byte(lineSeq)) {
		return v.record(line)
	}
	if c, ok := strictly[checkpointLine](line); ok {
		v.checkpoint(c.Checkpoint)
		return nil
	}
	v.ended = false
	if s, ok := strictly[segmentLine](line); ok {
		v.begins(s.Segment)
		return nil
	}
	v.problem(0, "it is no line of an export: it was changed, or put in")
	return nil
}

// begins takes a segment.
func (v *verifying) begins(s Segment) {
	n := len(v.proof.Segments)
	switch {
	case s.First > v.seq+1 && n == 0 && v.header.Before == 0:
		v.problem(0, "the segment begins with record %d, and the export with record %d", s.First, v.seq+1)
	case n > 0 && s.Number <= v.segment.Number:
		v.problem(0, "segment %d comes after segment %d", s.Number, v.segment.Number)
	case n > 0 && s.First <= v.seq:
		v.problem(s.First, "segment %d begins with record %d, and record %d came before", s.Number, s.First, v.seq)
	case n > 0 && s.First > v.seq+1:
		v.problem(v.seq+1, "%s missing in front of segment %d", span("record", v.seq+1, s.First-1), s.Number)
	}
	if n > 0 {
		v.problem(s.First, "segment %d begins: the trail was found to be broken at %s, and record %d says how", s.Number, s.At.UTC().Format(time.RFC3339), s.First)
		v.seq = s.First - 1
	}
	if s.First == v.seq+1 {
		if n == 0 && v.hash != s.Start() {
			v.problem(0, "the header has another hash than the one that the segment begins with")
		}
		v.hash = s.Start()
	}
	v.segment = s
	if n < maxBreaks {
		v.proof.Segments = append(v.proof.Segments, s)
	}
}

// parse reads the line of a record.
func parse(line []byte) (seq uint64, hash, sum Hash, body []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(lineSeq))
	digits, rest, cut := bytes.Cut(rest, []byte(lineHash))
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	if !ok || !cut || err != nil || strconv.FormatUint(seq, 10) != string(digits) || len(rest) < 2*len(hash) {
		return seq, hash, sum, nil, false
	}
	if hash.UnmarshalText(rest[:2*len(hash)]) != nil {
		return seq, hash, sum, nil, false
	}
	rest = rest[2*len(hash):]
	if text, isSum := bytes.CutPrefix(rest, []byte(lineSum)); isSum {
		text, ok = bytes.CutSuffix(text, []byte(`"}`))
		return seq, hash, sum, nil, ok && sum.UnmarshalText(text) == nil
	}
	body, ok = bytes.CutPrefix(rest, []byte(lineBody))
	body, end := bytes.CutSuffix(body, []byte("}"))
	if !ok || !end || !json.Valid(body) {
		return seq, hash, sum, nil, false
	}
	return seq, hash, Sum(body), body, true
}

func (v *verifying) record(line []byte) error {
	v.ended = false
	seq, hash, sum, body, ok := parse(line)
	if !ok {
		v.problem(v.seq+1, "the line of a record was changed, after record %d", v.seq)
		return nil
	}
	switch {
	case len(v.proof.Segments) == 0:
		v.problem(seq, "record %d stands in front of every segment", seq)
	case seq == v.seq+1:
	case seq <= v.seq:
		v.problem(seq, "record %d stands after record %d: out of order, or twice", seq, v.seq)
	default:
		v.problem(v.seq+1, "%s missing", span("record", v.seq+1, seq-1))
	}
	if seq == v.seq+1 {
		if hash != v.hash.Next(seq, sum) {
			v.problem(seq, "record %d does not go with its hash: it was changed, or put in, or the one before it was", seq)
		}
	}
	v.seq, v.hash = seq, hash
	v.contains(seq, hash)
	v.proof.Records++
	if body == nil {
		v.proof.Foreign++
		return nil
	}
	if v.proof.From.IsZero() {
		v.proof.From = timeOf(body)
	}
	v.last = append(v.last[:0], body...)
	if v.See != nil {
		return v.See(seq, body)
	}
	return nil
}

func timeOf(body []byte) time.Time {
	var r struct{ At time.Time }
	_ = json.Unmarshal(body, &r) // it has none
	return r.At
}

func (v *verifying) checkpoint(c Checkpoint) {
	v.ended = true
	before := v.clean
	switch {
	case c.Segment != v.segment.ID || c.Seq != v.seq:
		v.problem(c.Seq, "checkpoint %d is of record %d, and stands after record %d", c.Number, c.Seq, v.seq)
		return
	case c.Number != v.number+1 && (v.number > 0 || v.header.Before == 0):
		v.problem(0, "checkpoint %d is missing: checkpoint %d stands after number %d", v.number+1, c.Number, v.number)
	case c.At.Before(v.proof.Signed[1]):
		v.problem(0, "checkpoint %d was signed before the one in front of it", c.Number)
	}
	v.number = c.Number
	if err := v.Keys.Check(c); err != nil {
		v.problem(c.Seq, "%v", err)
		return
	}
	if c.Hash != v.hash {
		v.problem(c.Seq, "checkpoint %d signed another record %d: something from record %d on was changed", c.Number, c.Seq, before+1)
		return
	}
	v.clean = c.Seq
	if v.proof.Checkpoints++; v.proof.Checkpoints == 1 {
		v.proof.Signed[0] = c.At
	}
	v.proof.Signed[1] = c.At
	v.proof.End = End{c.Segment, c.Seq, c.Hash}
}

func (v *verifying) end() {
	switch {
	case !v.ended:
		v.problem(v.seq, "it is cut off at the end: after record %d, without a checkpoint behind it; the export was up to record %d", v.seq, v.header.Last)
	case v.seq < v.header.Last || v.number < v.header.Checkpoint:
		v.problem(v.seq, "it is cut off at the end: after checkpoint %d and record %d; the export was up to checkpoint %d and record %d", v.number, v.seq, v.header.Checkpoint, v.header.Last)
	case v.seq > v.header.Last || v.number > v.header.Checkpoint:
		v.problem(v.seq, "it goes on behind its end, which was record %d: something was put in, or the header was changed", v.header.Last)
	}
	if v.Earlier != nil && !v.sure {
		v.problem(v.Earlier.Seq, "it does not contain the earlier export, which ended with record %d", v.Earlier.Seq)
	}
	v.proof.Extends = v.sure
	v.proof.Last = v.seq
	v.proof.To = timeOf(v.last)
	v.proof.Whole = v.header.Before == 0
}
