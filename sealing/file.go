package sealing

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/fault"
)

// worldReadable is who may not read a file of keys. Its group may: Kubernetes mounts
// secrets that way.
const worldReadable = 0o007

// maxFile is more than a file of keys ever has.
const maxFile = 1 << 16

// Read reads a file of keys: one a line, 32 bytes in base64, the one that seals first;
// empty lines and lines that begin with # are left out. Faults: Invalid, naming the
// line; Refused when everybody may read it.
func Read(path string) (*Keys, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.Invalid, "read codec keys: there is no %s", path)
	case err != nil:
		return nil, fault.New(fault.Invalid, "read codec keys: %s cannot be looked at", path)
	case info.IsDir():
		return nil, fault.New(fault.Invalid, "read codec keys: %s is a directory", path)
	case info.Mode().Perm()&worldReadable != 0:
		return nil, fault.New(fault.Refused, "read codec keys: everybody may read %s: chmod 0600 %s", path, path)
	case info.Size() > maxFile:
		return nil, fault.New(fault.Invalid, "read codec keys: %s is too large to be a file of keys", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read codec keys: %s cannot be read", path)
	}
	defer clear(data)
	k, err := Parse(data)
	return k, fault.Wrap(fault.Invalid, err, "read codec keys: %s", path)
}

// Parse reads the content of a file of keys. Errors name the line, and nothing that
// stands in it. Faults: Invalid.
func Parse(data []byte) (*Keys, error) {
	k := &Keys{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		secret, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(secret) != keySize {
			return nil, fault.New(fault.Invalid, "line %d: it is no key: want 32 bytes in base64, as head -c 32 /dev/urandom | base64 makes them", n)
		}
		one, err := newKey(secret)
		clear(secret)
		if err != nil {
			return nil, fault.New(fault.Invalid, "line %d: nothing can be sealed with it", n)
		}
		if slices.Contains(k.IDs(), one.id) {
			return nil, fault.New(fault.Invalid, "line %d: the key stands above already", n)
		}
		k.keys = append(k.keys, one)
	}
	if lines.Err() != nil {
		return nil, fault.New(fault.Invalid, "a line is too long to be a key")
	}
	if len(k.keys) == 0 {
		return nil, fault.New(fault.Invalid, "there is no key in it: head -c 32 /dev/urandom | base64 makes one")
	}
	return k, nil
}
