package frr

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/keyorch/keyorch/fault"
)

// save puts the chain into the file that FRR starts from, in the place of what
// stands there of it. Nothing else in the file changes. "write memory" would not
// do: it also saves what somebody is only trying out, it drops the part of every
// daemon that is down at that moment, and it can only come after the change.
func (d *Device) save(c chain) error {
	if d.saved == "" {
		return nil
	}
	err := d.rewrite(c)
	var path *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.Unavailable, fs.ErrNotExist, "save key chain %s in %s: make FRR write it once (write memory), or set persist to false", c.name, d.saved)
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unavailable, fs.ErrPermission, "save key chain %s in %s: the agent must be able to write there, as frr or as root", c.name, d.saved)
	case errors.As(err, &path):
		err = path.Err
	}
	return fault.Wrap(fault.Unavailable, err, "save key chain %s in %s", c.name, d.saved)
}

func (d *Device) rewrite(c chain) error {
	file, err := filepath.EvalSymlinks(d.saved)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	defer clear(old)
	block := c.block()
	defer block.wipe()
	text := replace(old, c.name, block.text)
	defer clear(text)
	if bytes.Equal(old, text) {
		return nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	next, err := renameio.NewPendingFile(file, renameio.WithTempDir(filepath.Dir(file)),
		renameio.WithStaticPermissions(info.Mode().Perm()))
	if err != nil {
		return err
	}
	defer func() { _ = next.Cleanup() }()
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		// FRR itself must be able to read it. Without the right to give a file away
		// the agent is its owner anyway, or the group lets FRR read it.
		if err := next.Chown(int(owner.Uid), int(owner.Gid)); err != nil && int(owner.Uid) != os.Geteuid() {
			return err
		}
	}
	if _, err := next.Write(text); err != nil {
		return err
	}
	return next.CloseAtomicallyReplace()
}

// replace is file with block in the place of the key chain called name, or before
// its end where there is none. The caller clears what it gets.
func replace(file []byte, name string, block []byte) []byte {
	text := make([]byte, 0, len(file)+len(block)+8) // never grows, so that no copy is left
	put := false
	for rest := file; len(rest) > 0; {
		line, after := cutLine(rest)
		switch trimmed := string(bytes.TrimSpace(line)); {
		case isChain(line, name):
			rest = skipChain(after)
			if !put {
				text, put = append(text, block...), true
			}
			continue
		case trimmed == "end" && !put && len(bytes.TrimSpace(after)) == 0:
			text, put = append(append(text, block...), "!\n"...), true
		}
		text, rest = append(text, line...), after
	}
	if put {
		return text
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return append(append(text, block...), "!\n"...)
}

func isChain(line []byte, name string) bool {
	words := bytes.Fields(line)
	return len(words) == 3 && string(words[0]) == "key" && string(words[1]) == "chain" && string(words[2]) == name
}

// skipChain gives what follows the lines of a key chain, which need not be
// indented where a person wrote them.
func skipChain(rest []byte) []byte {
	for len(rest) > 0 {
		line, after := cutLine(rest)
		words := bytes.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '!' || words[0][0] == '#':
			if next, _ := cutLine(after); !ofChain(next) {
				return rest
			}
		case string(words[0]) == "exit" && line[0] == 'e':
			if next, _ := cutLine(after); !ofChain(next) {
				return after
			}
		case !ofChain(line):
			return rest
		}
		rest = after
	}
	return rest
}

// ofChain reports whether a line can only stand in a key chain.
func ofChain(line []byte) bool {
	words := bytes.Fields(line)
	if len(words) == 0 {
		return false
	}
	verb := string(words[0])
	if verb == "no" && len(words) > 1 {
		verb = string(words[1])
	}
	switch verb {
	case "key-string", "cryptographic-algorithm", "send-lifetime", "accept-lifetime":
		return true
	case "key":
		return len(words) > 1 && string(words[1]) != "chain"
	case "exit":
		return line[0] == ' ' || line[0] == '\t'
	}
	return false
}

func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1], b[i+1:]
	}
	return b, nil
}
