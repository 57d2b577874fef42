package audit

import (
	"fmt"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Problem is something that is wrong with an export.
type Problem struct {
	// Line counts from 1. Seq is the record that it is about; zero: none.
	Line int    `json:"line"`
	Seq  uint64 `json:"seq,omitempty"`
	What string `json:"what"`
}

// String is p in a line.
func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.What) }

// maxProblems is how many are told; the others are counted.
const maxProblems = 20

// Proof is what an export proves. All of it is only as good as the keys.
type Proof struct {
	Records uint64 `json:"records"`
	Foreign uint64 `json:"notShown,omitempty"` // records of which only the sum is there
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	// From and To are the times of the first and the last record that is shown.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Checkpoints is how many there are; Signed is when the first and the last of them were.
	Checkpoints int          `json:"checkpoints"`
	Signed      [2]time.Time `json:"signed"`
	// Segments are those that records are of: more than one says that the trail was
	// found to be broken.
	Segments []Segment `json:"segments"`
	// Keys names the keys, and Trusted says that they were given and not taken from the
	// export itself.
	Keys    string `json:"keys"`
	Trusted bool   `json:"trusted"`
	// End is the last record that a checkpoint covers, with the chain's hash.
	End End `json:"end"`
	// Whole says that the trail is here from its first record on.
	Whole bool `json:"whole"`
	// Extends says that the earlier export is contained.
	Extends bool `json:"extends,omitempty"`
	// Problems are what is wrong; More, how many more there are.
	Problems []Problem `json:"problems,omitempty"`
	More     int       `json:"more,omitempty"`
}

// Fault is a Mismatch that names the first problem, or nil when there is none.
func (p Proof) Fault() error {
	switch n := len(p.Problems) + p.More; n {
	case 0:
		return nil
	case 1:
		return fault.New(fault.Mismatch, "verify the trail: a problem in %s", p.Problems[0])
	default:
		return fault.New(fault.Mismatch, "verify the trail: %d problems, the first in %s", n, p.Problems[0])
	}
}

// End is where an export ends.
type End struct {
	Segment string `json:"segment"`
	Seq     uint64 `json:"seq"`
	Hash    Hash   `json:"hash"`
}
