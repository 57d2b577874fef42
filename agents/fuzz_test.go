package agents

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// FuzzJournal: whatever stands in the file under a link, it is read as a whole or
// said to be damaged without being quoted; once tidied it is sorted, bounded and the
// same when it is written and read again, and no epoch that was begun is forgotten.
func FuzzJournal(f *testing.F) {
	for _, s := range []string{
		`{"turn":7,"started":[3,4],"lost":[3]}`, `{}`, ``, `[]`, `{"turn":-1}`, `{"started":[4,3,3,0,18446744073709551615]}`, `{"lost":[9]}`,
		`{"turn":7,"started":["kH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVa"]}`, `{"started":[` + strings.Repeat("1,", 3000) + `2]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		e, err := decode(doc)
		if err != nil {
			if err.Error() != errDamaged.Error() {
				t.Errorf("says %q", err)
			}
			return
		}
		before := e.clone()
		e.tidy()
		if len(e.Started) > keepStarted || !slices.IsSorted(e.Started) || !slices.IsSorted(e.Lost) {
			t.Errorf("%s is tidied to %+v", doc, e)
		}
		for _, epoch := range before.Started {
			if !e.started(epoch) && len(before.Started) <= keepStarted {
				t.Errorf("%s forgets epoch %d", doc, epoch)
			}
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(text)
		if err != nil || again.Turn != e.Turn || !slices.Equal(again.Started, e.Started) || !slices.Equal(again.Lost, e.Lost) {
			t.Errorf("%+v reads back as %+v (%v)", e, again, err)
		}
	})
}
