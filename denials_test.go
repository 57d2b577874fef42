package keyorch_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// denials are the tests of denials that sources declare, and those that the table
// names.
func denials(t *testing.T) (declared, listed []string) {
	t.Helper()
	test := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, dir := range []string{"e2e", "deploy"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, m := range test.FindAllStringSubmatch(string(source), -1) {
				declared = append(declared, m[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile("docs/security/denials.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`(Test\\w+)(/[\\w/]+)?` \\|").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, m[1])
	}
	return declared, listed
}

func TestTheTableOfDenialsIsWhole(t *testing.T) {
	declared, listed := denials(t)
	for _, name := range undone(declared, listed) {
		t.Error(name)
	}
	if bad := undone([]string{"TestDeniedNew"}, []string{"TestDeniedGone"}); len(bad) != 2 {
		t.Errorf("the check cannot fail: %v", bad)
	}
}

// undone is what one of the two has and the other has not.
func undone(declared, listed []string) (bad []string) {
	for _, name := range declared {
		if strings.HasPrefix(name, "TestDenied") && !slices.Contains(listed, name) {
			bad = append(bad, name+" is not in docs/security/denials.md")
		}
	}
	for _, name := range listed {
		if !slices.Contains(declared, name) {
			bad = append(bad, "docs/security/denials.md: there is no test "+name)
		}
	}
	return bad
}
