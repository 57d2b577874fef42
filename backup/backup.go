package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/keyorch/keyorch/fault"
)

const (
	format  = "keyorch-backup"
	version = 1
	// longest is the longest line: an entry has at most what etcd takes, 1.5 MiB, which
	// base64 makes a third longer.
	longest = 4 << 20
)

// Header is the first line.
type Header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// Revision is that of etcd at which all of it was read.
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`
}

// entry is one key. Keys have no prefix, so that a backup fits below another one.
type entry struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// Summary is the last line.
type Summary struct {
	Entries int    `json:"entries"`
	SHA256  string `json:"sha256"`
}

// Writer writes a backup.
type Writer struct {
	to      io.Writer
	sum     hash.Hash
	entries int
}

// NewWriter begins a backup of what stood in etcd at a revision.
func NewWriter(to io.Writer, revision int64, at time.Time) (*Writer, error) {
	w := &Writer{to: to, sum: sha256.New()}
	return w, w.line(Header{Format: format, Version: version, Revision: revision, At: at.UTC()})
}

func (w *Writer) line(v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write the backup")
	}
	doc = append(doc, '\n')
	_, _ = w.sum.Write(doc)
	_, err = w.to.Write(doc)
	return fault.Wrap(fault.Unavailable, err, "write the backup")
}

// Put adds a key.
func (w *Writer) Put(key string, value []byte) error {
	w.entries++
	return w.line(entry{key, value})
}

// Close writes the end. It does not close what it writes to.
func (w *Writer) Close() (Summary, error) {
	s := Summary{Entries: w.entries, SHA256: hex.EncodeToString(w.sum.Sum(nil))}
	return s, w.line(s)
}

// Read gives every entry to put, in order, and then what the end says. An error of put
// ends it. Faults: Invalid for what is no backup, is cut, or was changed, with the
// number of the last entry that is whole.
func Read(from io.Reader, put func(key string, value []byte) error) (Header, Summary, error) {
	lines := bufio.NewReaderSize(from, 64<<10)
	var header Header
	first, err := readLine(lines)
	if err != nil {
		return header, Summary{}, fault.Wrap(fault.Invalid, err, "read the backup: it is cut after entry 0")
	}
	err = strictly(first, &header)
	switch {
	case err != nil:
		return header, Summary{}, fault.Wrap(fault.Invalid, err, "read the backup: its first line is no header")
	case header.Format != format:
		return header, Summary{}, fault.New(fault.Invalid, "read the backup: this is %q, not %q", header.Format, format)
	case header.Version != version:
		return header, Summary{}, fault.New(fault.Invalid, "read the backup: it is of version %d, and this program reads %d", header.Version, version)
	}
	sum := sha256.New()
	_, _ = sum.Write(first)
	for n := 0; ; n++ {
		line, err := readLine(lines)
		if err != nil {
			return header, Summary{}, fault.Wrap(fault.Invalid, err, "read the backup: it is cut after entry %d", n)
		}
		if bytes.HasPrefix(line, []byte(`{"entries":`)) {
			s, err := ending(line, lines, n, hex.EncodeToString(sum.Sum(nil)))
			return header, s, err
		}
		var e entry
		if err := strictly(line, &e); err != nil || e.Key == "" {
			return header, Summary{}, fault.New(fault.Invalid, "read the backup: entry %d is no entry", n+1)
		}
		_, _ = sum.Write(line)
		if err := put(e.Key, e.Value); err != nil {
			return header, Summary{}, err
		}
	}
}

// ending checks the last line, and that nothing comes after it.
func ending(line []byte, rest *bufio.Reader, entries int, sum string) (Summary, error) {
	var s Summary
	if err := strictly(line, &s); err != nil {
		return s, fault.New(fault.Invalid, "read the backup: its last line is no end")
	}
	switch _, err := rest.ReadByte(); {
	case s.Entries != entries:
		return s, fault.New(fault.Invalid, "read the backup: it says that it has %d entries, and has %d", s.Entries, entries)
	case s.SHA256 != sum:
		return s, fault.New(fault.Invalid, "read the backup: its checksum is %s, and should be %s: it was changed", sum, s.SHA256)
	case err == nil:
		return s, fault.New(fault.Invalid, "read the backup: something follows its end")
	case !errors.Is(err, io.EOF):
		return s, fault.Wrap(fault.Invalid, err, "read the backup: its end is cut")
	}
	return s, nil
}

var errLong = errors.New("the line is too long")

// readLine is a line with its end.
func readLine(from *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > longest:
			return nil, errLong
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// strictly reads JSON that has no other fields.
func strictly(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
