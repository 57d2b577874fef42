package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/keyorch/keyorch/fault"
)

// whole writes a file that only its owner can read, all of it or none. What is no file,
// /dev/null or a pipe, is written to: root would else put a file in its place.
func whole(name string, write func(io.Writer) error) (err error) {
	if is, err := os.Lstat(name); err == nil && !is.Mode().IsRegular() && !is.IsDir() {
		return within(name, write)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write %s", name)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	return fault.Wrap(fault.Invalid, errors.Join(f.Sync(), f.Chmod(0o600), f.Close(), os.Rename(f.Name(), name)), "write %s", name)
}

// within writes to what is there.
func within(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write %s", name)
	}
	err = write(f)
	if closed := f.Close(); err == nil {
		err = fault.Wrap(fault.Invalid, closed, "write %s", name)
	}
	return err
}
