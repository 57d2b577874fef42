package cli

import (
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/keyorch/keyorch/fault"
)

// whole writes a file that only its owner can read, all of it or none. What is no file,
// /dev/null or a pipe, is written to: root would else put a file in its place.
func whole(name string, write func(io.Writer) error) error {
	if is, err := os.Lstat(name); err == nil && !is.Mode().IsRegular() && !is.IsDir() {
		return within(name, write)
	}
	f, err := renameio.NewPendingFile(name, renameio.WithTempDir(filepath.Dir(name)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write %s", name)
	}
	defer func() { _ = f.Cleanup() }()
	if err := write(f); err != nil {
		return err
	}
	return fault.Wrap(fault.Invalid, f.CloseAtomicallyReplace(), "write %s", name)
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
