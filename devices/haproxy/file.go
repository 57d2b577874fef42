package haproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/google/renameio/v2"
)

// maxFile bounds what is read of a key file. HAProxy takes more than three keys and
// uses the last three.
const maxFile = 64 << 10

// holds reports whether the key file gives HAProxy this ring when it starts.
func (s shared) holds(k keys) (bool, error) {
	f, err := os.Open(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, s.fileError("read", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	b := make([]byte, maxFile)
	defer clear(b)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, s.fileError("read", err)
	}
	there, ok := parseFile(b[:n])
	defer there.wipe()
	if !ok {
		return false, nil
	}
	for i := range k {
		if !k[i].Equal(there[i]) {
			return false, nil
		}
	}
	return true, nil
}

// parseFile reads the last three lines of a key file, as HAProxy does; false when it
// has fewer, or anything else in it.
func parseFile(b []byte) (keys, bool) {
	var k keys
	n := 0
	for line := range bytes.Lines(b) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			continue
		}
		one, err := parseKey(line)
		if err != nil {
			k.wipe()
			return keys{}, false
		}
		k[0].Wipe()
		k = keys{k[1], k[2], one}
		n++
	}
	if n < slots {
		k.wipe()
		return keys{}, false
	}
	return k, true
}

// prepare writes a key file beside the one in use; replace puts it in place, or drop
// gives it up.
func (s shared) prepare(k keys) (*pending, error) {
	mode, group := os.FileMode(0o600), -1
	if s.group != "" {
		var err error
		if group, err = groupID(s.group); err != nil {
			return nil, s.fileError("write", err)
		}
		mode = 0o640
	}
	f, err := renameio.NewPendingFile(s.file, renameio.WithTempDir(filepath.Dir(s.file)), renameio.WithStaticPermissions(mode))
	if err != nil {
		return nil, s.fileError("write", err)
	}
	b := make([]byte, 0, slots*128) // never grown, so that no copy is left
	defer clear(b[:cap(b)])
	for _, one := range k {
		b = append(appendKey(b, one), '\n')
	}
	if _, err = f.Write(b); err == nil && group >= 0 {
		err = f.Chown(-1, group)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, s.fileError("write", errors.Join(err, f.Cleanup()))
	}
	return &pending{shared: s, next: f}, nil
}

// write replaces the key file.
func (s shared) write(k keys) error {
	p, err := s.prepare(k)
	if err != nil {
		return err
	}
	return p.replace()
}

// pending is a key file that is not in use yet.
type pending struct {
	shared
	next *renameio.PendingFile
}

func (p *pending) replace() error {
	err := p.next.CloseAtomicallyReplace()
	if err == nil {
		err = syncDirectory(filepath.Dir(p.file))
	}
	if err != nil {
		return p.fileError("write", err)
	}
	return nil
}

// syncDirectory makes a rename outlast a loss of power.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (p *pending) drop() { _ = p.next.Cleanup() } // a leftover has mode 0600, and does no harm

// fileError names the key file and the cause, without the name of a temporary file.
func (s shared) fileError(op string, err error) error {
	cause := err
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		cause = errno
	}
	return fmt.Errorf("cannot %s key file %s: %w", op, s.file, cause)
}

// groupID takes a group by name or by number.
func groupID(group string) (int, error) {
	if id, err := strconv.Atoi(group); err == nil {
		return id, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, fmt.Errorf("there is no group %s", group)
	}
	return strconv.Atoi(g.Gid)
}
