package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

const (
	// maxMessage bounds one message of the device, in bytes. A hello of a large
	// router has some hundred KiB.
	maxMessage = 8 << 20
	// maxGap is how much white space may stand before the first chunk of a message:
	// servers end a hello with a line feed or two.
	maxGap = 64
)

// endOfMessage ends every message of the old framing (RFC 6242, section 4.3).
var endOfMessage = []byte("]]>]]>")

// declaration begins every message of ours.
const declaration = `<?xml version="1.0" encoding="UTF-8"?>`

// framer reads and writes whole messages.
type framer struct {
	r       *bufio.Reader
	w       io.Writer
	chunked bool
	limit   int
	early   int // how much of the opening of the next message has been sent already
}

func newFramer(rw io.ReadWriter) *framer {
	return &framer{r: bufio.NewReader(rw), w: rw, limit: maxMessage}
}

// read is the next message.
func (f *framer) read() ([]byte, error) {
	if f.chunked {
		return f.readChunks()
	}
	return f.readToEnd()
}

func (f *framer) readToEnd() ([]byte, error) {
	var message []byte
	for {
		part, err := f.r.ReadSlice('>')
		message = append(message, part...)
		switch {
		case bytes.HasSuffix(message, endOfMessage):
			return message[:len(message)-len(endOfMessage)], nil
		case len(message) > f.limit:
			return nil, f.tooLong()
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, ended(err)
		}
	}
}

// readChunks reads LF # size LF data, as often as it comes, up to LF # # LF
// (RFC 6242, section 4.2).
func (f *framer) readChunks() ([]byte, error) {
	if err := f.skipGap(); err != nil {
		return nil, err
	}
	var message []byte
	for {
		size, err := f.readHeader()
		switch {
		case err != nil:
			return nil, err
		case size == 0 && len(message) == 0:
			return nil, errors.New("the device sent a message without a chunk")
		case size == 0:
			return message, nil
		case size > uint64(f.limit-len(message)):
			return nil, f.tooLong()
		}
		at := len(message)
		message = append(message, make([]byte, size)...)
		if _, err := io.ReadFull(f.r, message[at:]); err != nil {
			return nil, ended(err)
		}
	}
}

// skipGap leaves one line feed before the "#" of the first chunk.
func (f *framer) skipGap() error {
	for range maxGap {
		next, err := f.r.Peek(2)
		switch {
		case err != nil:
			return ended(err)
		case next[0] == '\n' && next[1] == '#':
			return nil
		case next[0] != '\n' && next[0] != '\r' && next[0] != ' ':
			return errNotAChunk
		}
		if _, err := f.r.Discard(1); err != nil {
			return ended(err)
		}
	}
	return errNotAChunk
}

var errNotAChunk = errors.New("the device does not keep to the chunked framing of RFC 6242")

// readHeader is the size of the next chunk, or 0 for the end of the chunks.
func (f *framer) readHeader() (uint64, error) {
	var header [2]byte
	if _, err := io.ReadFull(f.r, header[:]); err != nil {
		return 0, ended(err)
	}
	line, err := f.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return 0, errNotAChunk
	case err != nil:
		return 0, ended(err)
	case string(header[:]) != "\n#":
		return 0, errNotAChunk
	case string(line) == "#\n":
		return 0, nil
	}
	size, err := strconv.ParseUint(string(line[:len(line)-1]), 10, 32)
	if err != nil || size == 0 || line[0] == '0' || line[0] == '+' {
		return 0, errNotAChunk
	}
	return size, nil
}

// opening is how the next message begins, whatever it says: with the declaration,
// which is a chunk of its own where there are chunks.
func (f *framer) opening() string {
	if f.chunked {
		return fmt.Sprintf("\n#%d\n%s", len(declaration), declaration)
	}
	return declaration
}

// prod sends one byte of the opening of the next message ahead of the rest, as long
// as there is one.
func (f *framer) prod() error {
	opening := f.opening()
	if f.early == len(opening) {
		return nil
	}
	_, err := io.WriteString(f.w, opening[f.early:f.early+1])
	f.early++
	return err
}

// write sends one message, and clears what it put together for that.
func (f *framer) write(message []byte) error {
	framed := make([]byte, 0, len(message)+64)
	if f.early > 0 {
		framed = append(framed, f.opening()[f.early:]...)
		message = bytes.TrimPrefix(message, []byte(declaration))
		f.early = 0
	}
	if f.chunked {
		framed = fmt.Appendf(framed, "\n#%d\n", len(message))
		framed = append(framed, message...)
		framed = append(framed, "\n##\n"...)
	} else {
		framed = append(framed, message...)
		framed = append(framed, endOfMessage...)
	}
	defer clear(framed)
	_, err := f.w.Write(framed)
	return err
}

func (f *framer) tooLong() error {
	return fmt.Errorf("the device sent a message of more than %d bytes", f.limit)
}

// ended makes an end in the middle of a message plain.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the device ended the session: %w", io.ErrUnexpectedEOF)
	}
	return err
}
