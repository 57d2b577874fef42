package agents

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

func open(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func onDisk(t *testing.T, j *Journal) entry {
	t.Helper()
	e, err := j.entry("n1", theLink)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestOneAgentAStateDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	_, err := OpenJournal(path)
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "another agent uses state directory "+filepath.Dir(path)) {
		t.Errorf("got %v", err)
	}
	instance := j.Instance()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, path); instance == "" || again.Instance() != instance {
		t.Errorf("instance %q became %q", instance, again.Instance())
	}
	if other := open(t, filepath.Join(t.TempDir(), "journal.db")); other.Instance() == instance {
		t.Error("two agents have one instance")
	}
}

func TestAJournalThatCannotBeUsedIsInvalid(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	if err := os.WriteFile(damaged, []byte(strings.Repeat("no journal ", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{damaged, filepath.Join(dir, "missing", "journal.db"), dir} {
		if _, err := OpenJournal(path); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestTheJournalKeepsTheHighestOfAllItHears(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	for _, turn := range []keychain.Turn{3, 7, 5} {
		if err := j.fence("n1", store.Order{Link: theLink, Turn: turn}); err != nil {
			t.Fatal(err)
		}
	}
	_ = j.Close()
	j = open(t, path)
	if got := onDisk(t, j).Turn; got != 7 {
		t.Errorf("turn %d", got)
	}
	report := store.Observation{Link: theLink, Started: []keychain.Epoch{4, 2}, Report: keychain.Report{Turn: 9, Lost: []keychain.Epoch{3}}}
	for range 2 {
		if err := j.merge("n1", []store.Observation{report}); err != nil {
			t.Fatal(err)
		}
	}
	e := onDisk(t, j)
	if e.Turn != 9 || !slices.Equal(e.Started, []keychain.Epoch{2, 3, 4}) || !slices.Equal(e.Lost, []keychain.Epoch{3}) {
		t.Errorf("kept %+v", e)
	}
	if other, err := j.entry("n2", theLink); err != nil || other.Turn != 0 {
		t.Errorf("another node has %+v, %v", other, err)
	}
}

func TestManyWriteTheJournalAtOnce(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if err := j.fence("n1", store.Order{Link: theLink, Turn: keychain.Turn(i)}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			add := func(e *entry) { e.Started = append(e.Started, keychain.Epoch(1+i%8)) }
			if err := j.change("n1", map[keychain.LinkID]func(*entry){theLink: add}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if e := onDisk(t, j); e.Turn != 63 || len(e.Started) != 8 {
		t.Errorf("kept %+v", e)
	}
}

func TestAnEpochThatWasPrunedCountsAsStarted(t *testing.T) {
	var e entry
	for epoch := keychain.Epoch(10); epoch <= 200; epoch++ {
		e.Started = append(e.Started, epoch)
		if epoch%2 == 0 {
			e.Lost = append(e.Lost, epoch)
		}
		e.tidy()
		// The newest may be taken back, and what was pruned still counts.
		short := entry{Started: e.Started[:len(e.Started)-1]}
		for old := keychain.Epoch(10); old < epoch; old++ {
			if !e.started(old) || !short.started(old) {
				t.Fatalf("at epoch %d, epoch %d does not count as started", epoch, old)
			}
		}
		if e.started(epoch + 1) {
			t.Fatalf("epoch %d counts as started", epoch+1)
		}
	}
	if len(e.Started) != keepStarted || len(e.Lost) != keepStarted/2 {
		t.Errorf("kept %d and %d", len(e.Started), len(e.Lost))
	}
}
