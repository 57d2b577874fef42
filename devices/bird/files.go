package bird

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/keyorch/keyorch/fault"
)

const (
	includedMode = 0o640 // BIRD reads them as a user of its own, by the directory's group
	journalMode  = 0o600
	constantsExt = ".keys"
	journalExt   = ".journal"
)

// journal is the keys of one link, and those that it is being changed to. It is
// written before anything else is touched, so that a change that was broken off
// can be taken back.
type journal struct {
	Version int    `json:"version"`
	Current state  `json:"current"`
	Next    *state `json:"next,omitempty"`
	// Edited says that somebody else's passwords are being put right: BIRD may have
	// loaded them.
	Edited bool `json:"edited,omitempty"`
}

// open reports whether a change was begun and not brought to its end.
func (j journal) open() bool { return j.Next != nil || j.Edited }

// next is what the files may be on their way to.
func (j journal) next() state {
	if j.Next != nil {
		return *j.Next
	}
	return j.Current
}

func (j journal) wipe() {
	j.Current.wipe()
	j.next().wipe()
}

func (d *Device) file(s segment, ext string) string {
	return filepath.Join(d.directory, string(s.link)+ext)
}

// load reads the journal of a link. One that is gone, or that is nobody's JSON, is
// that of a link without keys: the agent then brings them all again.
func (d *Device) load(s segment) (journal, error) {
	data, err := os.ReadFile(d.file(s, journalExt))
	defer clear(data)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = os.Stat(d.directory); err == nil {
			return journal{}, nil
		}
	}
	if err != nil {
		return journal{}, unreadable(d.directory, err)
	}
	var j journal
	if json.Unmarshal(data, &j) != nil || j.Version != 1 {
		return journal{}, nil
	}
	return j, nil
}

func (d *Device) save(s segment, j journal) error {
	j.Version = 1
	data, err := json.Marshal(j)
	defer clear(data)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write the journal of %s", s.link)
	}
	return d.write(d.file(s, journalExt), data, journalMode)
}

// write puts a file in place in one step.
func (d *Device) write(path string, data []byte, mode os.FileMode) error {
	err := func() error {
		f, err := renameio.NewPendingFile(path, renameio.WithTempDir(d.directory), renameio.WithStaticPermissions(mode))
		if err != nil {
			return err
		}
		defer func() { _ = f.Cleanup() }()
		if mode == includedMode {
			if err := giveToGroup(f.File, d.directory); err != nil {
				return err
			}
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
		if err := f.CloseAtomicallyReplace(); err != nil {
			return err
		}
		return syncDirectory(d.directory)
	}()
	return unwritable(path, err)
}

// syncDirectory makes renames last in the order in which they were made.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// giveToGroup gives f to the group of the directory, which is BIRD's.
func giveToGroup(f *os.File, directory string) error {
	of, err := os.Stat(directory)
	if err != nil {
		return err
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	want, got := of.Sys().(*syscall.Stat_t).Gid, mine.Sys().(*syscall.Stat_t).Gid
	if want == got {
		return nil
	}
	return f.Chown(-1, int(want))
}

// put writes the included files from whatever they are on the way between two
// sets of keys. Whenever BIRD reads them meanwhile, it takes a whole set with a
// claim that is true of it, or refuses.
func (d *Device) put(s segment, from, to state) error {
	between := s.between(from, to)
	if err := d.write(d.file(s, constantsExt), between, includedMode); err != nil {
		return err
	}
	for _, protocol := range s.protocols {
		list := s.passwords(protocol, to)
		err := d.write(d.file(s, "."+protocol), list, includedMode)
		clear(list)
		if err != nil {
			return err
		}
	}
	return d.write(d.file(s, constantsExt), s.constants(to), includedMode)
}

// compare says which of the included files are not as they are to be: those that
// somebody edited, and whether one is missing.
func (d *Device) compare(s segment, of state) (edited []string, missing bool, err error) {
	check := func(ext string, want []byte) {
		path := d.file(s, ext)
		got, failed := os.ReadFile(path)
		switch {
		case errors.Is(failed, fs.ErrNotExist):
			missing = true
		case failed != nil:
			err = unreadable(path, failed)
		case !bytes.Equal(got, want):
			edited = append(edited, path)
		}
		clear(got)
		clear(want)
	}
	check(constantsExt, s.constants(of))
	for _, protocol := range s.protocols {
		check("."+protocol, s.passwords(protocol, of))
	}
	return edited, missing, err
}

// sweep removes what a write that was killed has left: files whose names begin with
// a dot and end in digits.
func (d *Device) sweep(s segment) {
	for _, ext := range []string{constantsExt, "." + ospf, "." + bfd, journalExt} {
		left, _ := filepath.Glob(filepath.Join(d.directory, "."+string(s.link)+ext+"[0-9]*"))
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
}

// system is an error of the system without the path that is said already.
func system(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

func unreadable(path string, err error) error {
	return fault.Wrap(fault.Unavailable, system(err), "read %s", path)
}

func unwritable(path string, err error) error {
	return fault.Wrap(fault.Unavailable, system(err), "write %s", path)
}
