package netconf

import (
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

func TestNotesReadBack(t *testing.T) {
	for _, n := range []note{
		{link: "l1", refs: map[uint64]keychain.Ref{}},
		{link: "dc1-dc2", refs: map[uint64]keychain.Ref{4: {Epoch: 3, KCV: "0f1e2d3c4b"}, 255: {Epoch: 900, KCV: "a1b2c3d4e5"}}},
		{before: "OSPF, area 0 <core> keyorch", link: "l1", refs: map[uint64]keychain.Ref{1: {Epoch: 1, KCV: "0f1e2d3c4b"}}},
		{link: "l1", refs: map[uint64]keychain.Ref{}, waits: "00ff00ff", limit: 30 * time.Second},
	} {
		got := parseNote(n.String())
		if got.String() != n.String() || got.link != n.link || len(got.refs) != len(n.refs) || got.waits != n.waits || got.limit != n.limit || got.before != n.before {
			t.Errorf("%q reads back as %q", n, got)
		}
	}
}

func TestWhatIsNoNoteHasNoEntries(t *testing.T) {
	for _, s := range []string{
		"", "OSPF", "keyorch", "keyorch l1 4", "keyorch l1 4=e4-a1b2c3d4e5 and more", "keyorch l1 x=e4-a1b2c3d4e5",
		"mykeyorch l1 4=e4-a1b2c3d4e5", "keyorch L1 4=e4-a1b2c3d4e5",
	} {
		if n := parseNote(s); n.link != "" || len(n.refs) != 0 || n.waits != "" {
			t.Errorf("%q is taken for %+v", s, n)
		}
	}
	if n := parseNote("keyorch l1 4=e0-a1b2c3d4e5 5=e5-00 6=e6-a1b2c3d4e5"); len(n.refs) != 1 || n.refs[6].Epoch != 6 {
		t.Errorf("entries that are none were taken: %+v", n)
	}
	if n := parseNote("keyorch l1 unconfirmed=00/99999999999999999999s"); n.limit != time.Hour {
		t.Errorf("a limit without sense is %v", n.limit)
	}
}

// FuzzNote wants no panic, and what was read to be written and read again the same.
func FuzzNote(f *testing.F) {
	for _, s := range []string{"", "x keyorch l1 4=e4-a1b2c3d4e5", "keyorch l1 4=e4-a1b2c3d4e5 unconfirmed=00/30s", "keyorch keyorch l"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := parseNote(s)
		if n.link == "" {
			return
		}
		if again := parseNote(n.String()); again.String() != n.String() {
			t.Errorf("%q reads back as %q", n, again)
		}
	})
}
