package frr

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
)

const block = "key chain c\n key 1\n exit\nexit\n"

func TestTheBlockIsReplacedAndNothingElse(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"empty", "", block + "!\n"},
		{"none yet", "hostname r1\n!\ninterface lo\nexit\n", "hostname r1\n!\ninterface lo\nexit\n" + block + "!\n"},
		{"no newline at the end", "hostname r1", "hostname r1\n" + block + "!\n"},
		{"before the end", "hostname r1\nend\n", "hostname r1\n" + block + "!\nend\n"},
		{"as FRR writes it", "a\n!\nkey chain c\n key 9\n  key-string x\n exit\n key 10\n exit\nexit\n!\ninterface lo\n", "a\n!\n" + block + "!\ninterface lo\n"},
		{"beside others", "key chain b\n key 1\n exit\nexit\n!\nkey chain c\nexit\n!\nkey chain cc\n key 1\n exit\nexit\n", "key chain b\n key 1\n exit\nexit\n!\n" + block + "!\nkey chain cc\n key 1\n exit\nexit\n"},
		{"by hand", "key chain c\nkey 1\nkey-string x\ncryptographic-algorithm md5\nkey 2\nkey-string y\n!\ninterface lo\n", block + "!\ninterface lo\n"},
		{"by hand with exits", "key chain c\nkey 1\nkey-string x\nexit\nkey 2\nkey-string y\nexit\nexit\nrouter ospf6\n", block + "exit\nrouter ospf6\n"},
		{"by hand, next to another", "key chain c\nkey 1\nkey chain d\nkey 1\n", block + "key chain d\nkey 1\n"},
		{"twice", "key chain c\n key 1\nexit\n!\nkey chain c\n key 2\nexit\n!\n", block + "!\n!\n"},
		{"at the very end", "key chain c\n key 9", block},
		{"with a remark", "key chain c\n key 1\n! mine\n key 2\n exit\nexit\ninterface lo\n", block + "interface lo\n"},
	} {
		got := string(replace([]byte(c.before), "c", []byte(block)))
		if got != c.after {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, got, c.after)
		}
		if again := string(replace([]byte(got), "c", []byte(block))); again != got {
			t.Errorf("%s: a second time it becomes\n%s", c.name, again)
		}
	}
}

func FuzzReplace(f *testing.F) {
	f.Add("key chain c\nkey 1\nkey-string x\nexit\nkey 2\n!\ninterface lo\n")
	f.Add("end\n")
	f.Fuzz(func(t *testing.T, before string) {
		got := string(replace([]byte(before), "c", []byte(block)))
		if n := strings.Count("\n"+got, "\n"+block); n < 1 {
			t.Errorf("%q has no block: %q", before, got)
		}
		if again := string(replace([]byte(got), "c", []byte(block))); again != got {
			t.Errorf("%q becomes %q, and then %q", before, got, again)
		}
	})
}

func TestTheFileKeepsItsMode(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "frr.conf"), filepath.Join(dir, "link.conf")
	if err := os.WriteFile(file, []byte("hostname r1\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	d := &Device{config: config{saved: link}}
	for range 2 {
		if err := d.save(of(sending(ours(1, 1)))); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is gone: %v (%v)", info.Mode(), err)
	}
	if info, err = os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), "key-string "+string(ours(1, 1).text)) != 1 {
		t.Errorf("the key is not there once (%v):\n%s", err, b)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
	d.saved = filepath.Join(dir, "none.conf")
	if err := d.save(of()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "write memory") {
		t.Errorf("without a file: %v", err)
	}
}
