package evidence

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

// Is reports whether what r gives is an evidence file, and takes nothing from it.
func Is(r *bufio.Reader) bool {
	start, _ := r.Peek(len(Prefix)) // shorter: it is none
	return bytes.Equal(start, []byte(Prefix))
}

// longestHead keeps whatever is given instead of evidence from filling the memory.
const longestHead = 16 << 20

// Verify reads an evidence file, follows its hashes, checks its signatures, and sees that its
// records are a whole rotation. Faults: Invalid when it is no evidence; Mismatch when something
// is wrong with it, which the Proof has in full where it is about the trail.
func Verify(r *bufio.Reader, q audit.Question) (Case, audit.Proof, error) {
	line, err := head(r)
	if err != nil {
		return Case{}, audit.Proof{}, err
	}
	h, err := ParseHead(line)
	if err != nil {
		return Case{}, audit.Proof{}, err
	}
	var records []Numbered
	q.See = func(seq uint64, body []byte) error {
		n := Numbered{Seq: seq}
		if json.Unmarshal(body, &n.Record) != nil {
			return fault.New(fault.Mismatch, "read the evidence: record %d is broken", seq)
		}
		records = append(records, n)
		return nil
	}
	proof, err := audit.Verify(r, q)
	for i := range proof.Problems {
		proof.Problems[i].Line++ // the first line is ours
	}
	if len(proof.Problems) > 0 && fault.Is(err, fault.Mismatch) {
		err = proof.Fault()
	}
	if err != nil {
		return Case{Head: h}, proof, err
	}
	c, err := Build(h, records)
	if err != nil {
		proof.Problems = append(proof.Problems, audit.Problem{Line: 1, What: err.Error()})
	}
	return c, proof, err
}

// head reads the first line.
func head(r *bufio.Reader) ([]byte, error) {
	var all []byte
	for {
		part, more := r.ReadSlice('\n')
		all = append(all, part...)
		switch {
		case more == nil:
			return all[:len(all)-1], nil
		case !errors.Is(more, bufio.ErrBufferFull):
			return nil, noHead("it ends in its first line")
		case len(all) > longestHead:
			return nil, noHead("its first line is too long")
		}
	}
}
