package bird

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// snapshot is the three included files at one moment.
type snapshot struct{ constants, ospf, bfd string }

// moments are what the files are, one after the other, while they are changed.
func moments(s segment, from, to state) []snapshot {
	now := snapshot{string(s.constants(from)), string(s.passwords(ospf, from)), string(s.passwords(bfd, from))}
	all := []snapshot{now}
	for _, write := range []func(){
		func() { now.constants = string(s.between(from, to)) },
		func() { now.ospf = string(s.passwords(ospf, to)) },
		func() { now.bfd = string(s.passwords(bfd, to)) },
		func() { now.constants = string(s.constants(to)) },
	} {
		write()
		all = append(all, now)
	}
	return all
}

// loaded is what BIRD would make of the files: what is claimed and what is so, or
// false where it refuses a symbol that is not defined.
func loaded(t *testing.T, files snapshot) (said, ospfDoes, bfdDoes claim, ok bool) {
	t.Helper()
	defined := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^define (\w+) = "?(.*?)"?;$`).FindAllStringSubmatch(files.constants, -1) {
		defined[m[1]] = m[2]
	}
	does := func(text string) (c claim) {
		for _, m := range regexp.MustCompile(`(?m)^password "[\w-]+" \{ id \((\w+) \+ \d+\);(.*) \}; # (\S+)$`).FindAllStringSubmatch(text, -1) {
			if _, known := defined[m[1]]; !known {
				ok = false
			}
			one := parseClaim("accepts " + m[3] + " sends " + m[3] + " set x")
			c.accepts = append(c.accepts, one.sends)
			if !strings.Contains(m[2], "generate from") {
				c.sends = one.sends
			}
		}
		return c
	}
	ok = true
	ospfDoes, bfdDoes = does(files.ospf), does(files.bfd)
	return parseClaim(defined["keyorch_l1"]), ospfDoes, bfdDoes, ok
}

// TestNoMomentClaimsTooMuch has BIRD read the files at any two moments of a change,
// the constants at the first and the passwords at the second: it may refuse, but
// what it then claims it does.
func TestNoMomentClaimsTooMuch(t *testing.T) {
	s := segment{link: "l1", protocols: []string{ospf, bfd}}
	one, two := newState(t, 1, 1), newState(t, 1, 1, 2)
	switched := state{Sends: 2, Keys: two.Keys}
	after := state{Sends: 2, Keys: two.Keys[1:]}
	one.Keys = two.Keys[:1]
	for _, change := range []struct {
		name     string
		from, to state
	}{{"first", state{}, state{Keys: one.Keys}}, {"install", one, two}, {"switch", two, switched}, {"remove", switched, after}, {"take back", switched, two}} {
		all := moments(s, change.from, change.to)
		for i, early := range all {
			for j, late := range all[i:] {
				said, o, b, ok := loaded(t, snapshot{early.constants, late.ospf, late.bfd})
				if i+j == i && !ok {
					t.Errorf("%s: BIRD could not start with the files after write %d", change.name, i)
				}
				if !ok {
					continue
				}
				for _, does := range []claim{o, b} {
					for _, r := range said.accepts {
						if !slices.Contains(does.accepts, r) {
							t.Errorf("%s, %d and %d: claims to accept %v, accepts %v", change.name, i, i+j, r, does.accepts)
						}
					}
					if !said.sends.IsZero() && said.sends != does.sends {
						t.Errorf("%s, %d and %d: claims to send with %v, sends with %v", change.name, i, i+j, said.sends, does.sends)
					}
				}
			}
		}
	}
}

// Without the symbol that ties passwords to their constants, a claim would be made
// of passwords that BIRD does not have: the teeth of the test above.
func TestWithoutItsSymbolAMixtureWouldBeTaken(t *testing.T) {
	s := segment{link: "l1"}
	two := newState(t, 1, 1, 2)
	switched := state{Sends: 2, Keys: two.Keys}
	mixed := snapshot{string(s.constants(two)), string(s.passwords(ospf, switched)), ""}
	if _, _, _, ok := loaded(t, mixed); ok {
		t.Error("BIRD takes passwords of another set than the constants")
	}
	mixed.ospf = strings.ReplaceAll(mixed.ospf, s.version(switched.tag()), s.version(two.tag()))
	if said, does, _, ok := loaded(t, mixed); !ok || said.sends == does.sends {
		t.Error("the test above cannot fail")
	}
}

func newDevice(t *testing.T, dir string) (*Device, segment) {
	t.Helper()
	d, err := New("n1", map[string]any{"socket": filepath.Join(dir, "bird.ctl"), "directory": dir, "links": map[string]any{"l1": nil}})
	if err != nil {
		t.Fatal(err)
	}
	return d, d.links["l1"]
}

func TestTheJournalReadsBack(t *testing.T) {
	d, s := newDevice(t, t.TempDir())
	from, to := newState(t, 1, 1), newState(t, 2, 1, 2)
	if err := d.save(s, journal{Current: from, Next: &to}); err != nil {
		t.Fatal(err)
	}
	j, err := d.load(s)
	if err != nil || !j.open() || j.Current.tag() != from.tag() || j.next().tag() != to.tag() {
		t.Errorf("%+v, %v", j, err)
	}
	if string(s.passwords(ospf, j.next())) != string(s.passwords(ospf, to)) {
		t.Error("other passwords come back")
	}
	if info, err := os.Stat(d.file(s, journalExt)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the journal: %v, %v", info.Mode(), err)
	}
	for _, text := range []string{"", "{", `{"version":9}`} {
		if err := os.WriteFile(d.file(s, journalExt), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if j, err := d.load(s); err != nil || j.open() || len(j.Current.Keys) > 0 {
			t.Errorf("%q: %+v, %v", text, j, err)
		}
	}
}

func TestFilesThatSomebodyEditedAreFound(t *testing.T) {
	dir := t.TempDir()
	d, s := newDevice(t, dir)
	of := newState(t, 1, 1)
	if _, missing, err := d.compare(s, of); err != nil || !missing {
		t.Errorf("without files: %v, %v", missing, err)
	}
	if err := d.put(s, state{}, of); err != nil {
		t.Fatal(err)
	}
	if edited, missing, err := d.compare(s, of); err != nil || missing || len(edited) > 0 {
		t.Errorf("as written: %v, %v, %v", edited, missing, err)
	}
	if err := os.WriteFile(d.file(s, ".ospf"), []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	if edited, _, _ := d.compare(s, of); !slices.Equal(edited, []string{filepath.Join(dir, "l1.ospf")}) {
		t.Errorf("edited: %v", edited)
	}
	for _, name := range []string{".l1.ospf123", ".l1.journal9"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.sweep(s)
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTroubleWithFilesAndSocketSaysWhich(t *testing.T) {
	dir := t.TempDir()
	d, _ := newDevice(t, dir)
	_, err := d.Upstream().Observe(t.Context(), "l1")
	if want := fmt.Sprintf("observe l1 on n1: cannot reach bird at %s/bird.ctl: no such file or directory", dir); !fault.Is(err, fault.Unavailable) || err.Error() != want {
		t.Errorf("without a daemon: %v", err)
	}
	if _, missing, _ := d.compare(d.links["l1"], state{}); missing {
		t.Error("BIRD could not start: the included files were not made")
	}
	if _, err := d.Downstream().Observe(t.Context(), "l2"); !fault.Is(err, fault.Invalid) {
		t.Errorf("another link: %v", err)
	}
	d, _ = newDevice(t, filepath.Join(dir, "none"))
	err = d.Downstream().Remove(t.Context(), keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: 1}})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "none: no such file or directory") {
		t.Errorf("without a directory: %v", err)
	}
}

// TestADaemonThatIsDownGetsItsFilesBack: with a broken file BIRD could not start,
// and nobody would ever get to mend it.
func TestADaemonThatIsDownGetsItsFilesBack(t *testing.T) {
	d, s := newDevice(t, t.TempDir())
	of := newState(t, 1, 1)
	for _, err := range []error{d.save(s, journal{Current: of}), d.put(s, state{}, of), os.WriteFile(d.file(s, ".bfd"), []byte("x"), 0o640)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Upstream().Observe(t.Context(), "l1"); !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	edited, _, err := d.compare(s, of)
	j, failed := d.load(s)
	if err != nil || failed != nil || len(edited) > 0 || !j.Edited {
		t.Errorf("edited %v, journal %v (%v, %v)", edited, j.Edited, err, failed)
	}
}
