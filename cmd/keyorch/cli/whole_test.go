package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func write(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestAFileIsWrittenWholeOrNotAtAll(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	if err := whole(name, write("first")); err != nil {
		t.Fatal(err)
	}
	trouble := errors.New("trouble")
	if err := whole(name, func(w io.Writer) error { _ = write("half")(w); return trouble }); !errors.Is(err, trouble) {
		t.Errorf("%v", err)
	}
	is, err := os.Stat(name)
	text, _ := os.ReadFile(name)
	if err != nil || string(text) != "first" || is.Mode().Perm() != 0o600 {
		t.Errorf("%v: %q, mode %v", err, text, is.Mode())
	}
}

// TestWhatIsNoFileIsNotReplaced writes to a pipe, and by a link: both stay what they are,
// as /dev/null and /dev/stdout have to.
func TestWhatIsNoFileIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	pipe, link, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(file, []byte("what was there"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		text, _ := os.ReadFile(pipe)
		got <- string(text)
	}()
	if err := errors.Join(whole(pipe, write("token")), whole(link, write("token"))); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(file)
	if through := <-got; through != "token" || string(text) != "token" {
		t.Errorf("the pipe has given %q, the link %q", through, text)
	}
	for name, kind := range map[string]os.FileMode{pipe: os.ModeNamedPipe, link: os.ModeSymlink} {
		if is, err := os.Lstat(name); err != nil || is.Mode().Type() != kind {
			t.Errorf("%s is %v now, %v", name, is.Mode(), err)
		}
	}
}
