package topology_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

func TestReadFilesDirectoriesAndStdin(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yml", "c.json", "README.md", ".hidden.yaml", "sub/d.yaml"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("# "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/d.yaml", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	got, err := topology.Read(strings.NewReader("# stdin"), []string{"-", dir + "/README.md", dir, dir + "/./b.yaml", "-"})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, s := range got {
		said = append(said, strings.TrimPrefix(s.Name, dir+"/")+"="+strings.TrimPrefix(string(s.Data), "# "))
	}
	want := "<stdin>=stdin README.md=README.md a.yml=a.yml b.yaml=b.yaml c.json=c.json link.yaml=sub/d.yaml"
	if strings.Join(said, " ") != want {
		t.Errorf("read %s, want %s", said, want)
	}
}

// endless is a file that never ends, and says how much of it was read.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	e.read += len(b)
	return len(b), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection lost") }

func TestReadSaysEverythingThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	var zeros endless
	for _, c := range []struct {
		stdin io.Reader
		want  string
	}{
		{&zeros, "<stdin>: the file is larger than 16 MiB: split it into several files"},
		{failing{}, "<stdin>: connection lost"},
	} {
		_, err := topology.Read(c.stdin, []string{dir, dir + "/nothing.yaml", "-"})
		var problems topology.Problems
		if !fault.Is(err, fault.Invalid) || !errors.As(err, &problems) || len(problems) != 3 {
			t.Fatalf("error %v", err)
		}
		want := dir + ": the directory has no .yaml, .yml or .json file\n" +
			dir + "/nothing.yaml: there is no such file or directory\n" + c.want
		if fmt.Sprint(err) != want {
			t.Errorf("says\n%v\nwant\n%s", err, want)
		}
	}
	if zeros.read > 2*topology.MaxSource {
		t.Errorf("read %d bytes of an endless file", zeros.read)
	}
}
