package workflows_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/link"
)

var rewrite = flag.Bool("update", false, "write the golden files anew")

var instant = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]*Z"`)

// TestCommandsOfOneRotation compares every command of a plain rotation of two
// links with its input. A replay does not: it looks at the names and the order of
// commands only.
func TestCommandsOfOneRotation(t *testing.T) {
	var got string
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.established("a", "b")
		r := w.newRun(theCampaign)
		want(t, r.outcome(batch("a", "b")), res("a", link.Rotated, 2), res("b", link.Rotated, 2))
		var b strings.Builder
		for _, c := range r.trace {
			b.WriteString(c.String() + "\n\n")
		}
		got = instant.ReplaceAllString(b.String(), `"TIME"`)
	})
	file := filepath.Join("testdata", "golden", "two-links.txt")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(golden) {
		return
	}
	a, b := strings.Split(string(golden), "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("%s:%d: the command was\n%s\nand is\n%s\nIf that is meant, run go test ./workflows -update, and see testdata/replay/README.md", file, i+1, a[i], b[i])
		}
	}
	t.Fatalf("%s has %d lines, and now there are %d", file, len(a), len(b))
}
