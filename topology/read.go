package topology

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MaxSource is the largest file that is read, in bytes.
const MaxSource = 16 << 20

// Source is one file with documents, and the name by which problems call it.
type Source struct {
	Name string
	Data []byte
}

// stdinName is how problems call what came from standard input.
const stdinName = "<stdin>"

// Read reads the files named. A directory stands for the files in it that end
// in .yaml, .yml or .json; its subdirectories and names that begin with a dot
// are left out. "-" is stdin. A file named twice is read once.
//
// The error is of kind Invalid and holds Problems, one for each path that could
// not be read.
func Read(stdin io.Reader, paths []string) ([]Source, error) {
	var sources []Source
	var problems Problems
	seen := map[string]bool{}
	add := func(name string, read func() (io.ReadCloser, error)) {
		if seen[name] {
			return
		}
		seen[name] = true
		data, err := readAll(read)
		if err != nil {
			problems = append(problems, unreadable(name, err))
			return
		}
		sources = append(sources, Source{Name: name, Data: data})
	}
	for _, p := range paths {
		if p == "-" {
			add(stdinName, func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil })
			continue
		}
		files, err := filesAt(p)
		if err != nil {
			problems = append(problems, unreadable(p, err))
		}
		for _, f := range files {
			add(f, func() (io.ReadCloser, error) { return os.Open(f) })
		}
	}
	if err := problems.fault(); err != nil {
		return nil, err
	}
	return sources, nil
}

// filesAt is p itself, or the files with documents in the directory p.
func filesAt(p string) ([]string, error) {
	p = filepath.Clean(p)
	info, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{p}, nil
	}
	entries, err := os.ReadDir(p)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		name := filepath.Join(p, e.Name())
		switch filepath.Ext(name) {
		case ".yaml", ".yml", ".json":
		default:
			continue
		}
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		// Stat, not the entry: a mounted ConfigMap is a directory of symbolic links.
		if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
			continue
		}
		files = append(files, name)
	}
	if len(files) == 0 {
		return nil, errors.New("the directory has no .yaml, .yml or .json file")
	}
	return files, nil
}

var errTooLarge = fmt.Errorf("the file is larger than %d MiB", MaxSource>>20)

func readAll(open func() (io.ReadCloser, error)) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, MaxSource+1))
	if err == nil && len(data) > MaxSource {
		err = errTooLarge
	}
	return data, err
}

func unreadable(name string, err error) Problem {
	p := Problem{File: name, Message: err.Error()}
	var pathErr *fs.PathError // it names the file a second time
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Message = "there is no such file or directory"
	case errors.Is(err, fs.ErrPermission):
		p.Message, p.Hint = "the file may not be read", "check its owner and mode"
	case errors.Is(err, errTooLarge):
		p.Hint = "split it into several files"
	case errors.As(err, &pathErr):
		p.Message = "the file cannot be read: " + pathErr.Err.Error()
	}
	return p
}
