package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// String is h in hexadecimal, lower case.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes h in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText writes, and nothing else. Faults: Invalid.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return notAHash()
	}
	var got Hash
	if _, err := hex.Decode(got[:], text); err != nil || bytes.ContainsAny(text, "ABCDEF") {
		return notAHash()
	}
	*h = got
	return nil
}

func notAHash() error {
	return fault.New(fault.Invalid, "audit: a hash is 64 lower-case hexadecimal digits")
}

// What goes into a hash before anything else, so that no two kinds are taken for each
// other.
const (
	recordDomain  = "keyorch audit record v1\x00"
	segmentDomain = "keyorch audit segment v1\x00"
)

// Sum is the hash of a record's body, byte for byte.
func Sum(body []byte) Hash { return sha256.Sum256(body) }

// Next is the hash of the chain after record seq, whose body has that sum. Only the sum
// goes in: so a chain can be followed over records whose bodies are not shown.
func (h Hash) Next(seq uint64, sum Hash) Hash {
	buf := make([]byte, 0, len(recordDomain)+8+2*sha256.Size)
	buf = append(buf, recordDomain...)
	buf = append(buf, h[:]...)
	buf = binary.BigEndian.AppendUint64(buf, seq)
	return sha256.Sum256(append(buf, sum[:]...))
}

// Segment is a chain from its beginning. There is one, unless it was found to be broken:
// then the next begins, and says so. The numbers of records go on.
type Segment struct {
	Number int `json:"number"` // from 1
	// ID is chosen by chance.
	ID string `json:"id"`
	// First is the number of its first record.
	First uint64    `json:"first"`
	At    time.Time `json:"at"`
}

// Start is the hash before the first record.
func (s Segment) Start() Hash {
	b, err := json.Marshal(s)
	if err != nil {
		return Hash{} // a year beyond 9999
	}
	return sha256.Sum256(append([]byte(segmentDomain), b...))
}

// Head is the end of the chain, as the scribe keeps it.
type Head struct {
	Segment Segment `json:"segment"`
	// Seq is the number of the last record; zero before the first. Hash is the chain's.
	Seq  uint64 `json:"seq"`
	Hash Hash   `json:"hash"`
	// Taken is etcd's revision up to which inboxes have been taken.
	Taken int64 `json:"taken"`
	// Signed is the last record that a checkpoint covers, SignedAt when it was signed, and
	// Checkpoint the checkpoint's number.
	Signed     uint64    `json:"signed,omitempty"`
	SignedAt   time.Time `json:"signedAt,omitzero"`
	Checkpoint uint64    `json:"checkpoint,omitempty"`
	// Archived is the last record that has been taken out into an archive.
	Archived uint64 `json:"archived,omitempty"`
	// Breaks are what was found to be wrong with the chain, the latest last.
	Breaks []Break `json:"breaks,omitempty"`
	// Revision guards the head; zero: there is none.
	Revision int64 `json:"-"`
}

// Break is something that was found to be wrong with the chain.
type Break struct {
	At time.Time `json:"at"`
	// Seq is the first record of the segment that was begun for it.
	Seq  uint64 `json:"seq"`
	What string `json:"what"`
}

// maxBreaks is how many a head remembers.
const maxBreaks = 32

// known reports whether a break was found before.
func (h Head) known(what string) bool {
	for _, b := range h.Breaks {
		if b.What == what {
			return true
		}
	}
	return false
}
