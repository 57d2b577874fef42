package audit

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"io"

	"github.com/keyorch/keyorch/fault"
)

// Block is some records in a row, as they are stored.
type Block struct {
	Segment Segment
	// First is the number of the first record, and Before the hash before it.
	First  uint64
	Before Hash
	// Bodies are the records, each a line of JSON.
	Bodies [][]byte
	// After is the hash after the last.
	After Hash
}

// Last is the number of the last record; zero for no block.
func (b Block) Last() uint64 { return max(b.First+uint64(len(b.Bodies)), 1) - 1 }

const (
	// blockBytes and blockRecords are when a block is full.
	blockBytes   = 512 << 10
	blockRecords = 2048
	// maxBlock is the most that a block can unfold to, in bytes: whatever it claims, no more is
	// read.
	maxBlock = blockBytes + MaxRecord + 1<<20
)

// blockHead is the first line of a block.
type blockHead struct {
	Version int     `json:"v"`
	Segment Segment `json:"segment"`
	First   uint64  `json:"first"`
	Count   int     `json:"count"`
	Before  Hash    `json:"before"`
	After   Hash    `json:"after"`
}

// Encode writes b: a line that says what it is, and the bodies, compressed. Faults: Invalid
// for a block without records.
func (b Block) Encode() ([]byte, error) {
	if len(b.Bodies) == 0 {
		return nil, fault.New(fault.Invalid, "audit: a block has no records")
	}
	head, err := json.Marshal(blockHead{1, b.Segment, b.First, len(b.Bodies), b.Before, b.After})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "audit: write a block")
	}
	out := bytes.NewBuffer(append(head, '\n'))
	z, err := flate.NewWriter(out, flate.BestSpeed+3)
	if err != nil {
		return nil, fault.Wrap(fault.Unknown, err, "audit: compress a block")
	}
	for _, body := range b.Bodies {
		_, _ = z.Write(append(body[:len(body):len(body)], '\n')) // a buffer takes everything
	}
	if err := z.Close(); err != nil {
		return nil, fault.Wrap(fault.Unknown, err, "audit: compress a block")
	}
	return out.Bytes(), nil
}

// DecodeBlock reads what Encode wrote. It does not look at the hashes: see Check. Faults:
// Mismatch for anything else.
func DecodeBlock(data []byte) (Block, error) {
	line, packed, ok := bytes.Cut(data, []byte("\n"))
	var h blockHead
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if !ok || d.Decode(&h) != nil || h.Version != 1 || h.Count < 1 || h.First < 1 {
		return Block{}, noBlock("its first line is broken")
	}
	z := flate.NewReader(bytes.NewReader(packed))
	lines, err := io.ReadAll(io.LimitReader(z, maxBlock+1))
	if err != nil || len(lines) > maxBlock || !bytes.HasSuffix(lines, []byte("\n")) {
		return Block{}, noBlock("its records do not unfold")
	}
	bodies := bytes.Split(lines[:len(lines)-1], []byte("\n"))
	if len(bodies) != h.Count {
		return Block{}, noBlock("it has another number of records than it says")
	}
	return Block{Segment: h.Segment, First: h.First, Before: h.Before, Bodies: bodies, After: h.After}, nil
}

func noBlock(why string) error { return fault.New(fault.Mismatch, "audit: no block: %s", why) }

// Check follows the hashes through b. Mismatch says that its records are not those that
// the hash at its end was made of.
func (b Block) Check() error {
	hash := b.Before
	for i, body := range b.Bodies {
		hash = hash.Next(b.First+uint64(i), Sum(body))
	}
	if hash != b.After {
		return fault.New(fault.Mismatch, "records %d to %d: at least one of them was changed", b.First, b.Last())
	}
	return nil
}

// builder makes blocks of records, one after the other.
type builder struct {
	head   Head
	blocks []Block
	size   int // of the last block
}

// add puts a record at the end of the chain. The body must be one line of JSON.
func (b *builder) add(body []byte) {
	n := len(b.blocks)
	if n == 0 || b.size+len(body) > blockBytes || len(b.blocks[n-1].Bodies) >= blockRecords {
		b.blocks = append(b.blocks, Block{Segment: b.head.Segment, First: b.head.Seq + 1, Before: b.head.Hash})
		b.size, n = 0, n+1
	}
	last := &b.blocks[n-1]
	b.head.Seq++
	b.head.Hash = b.head.Hash.Next(b.head.Seq, Sum(body))
	last.Bodies, last.After = append(last.Bodies, body), b.head.Hash
	b.size += len(body) + 1
}
