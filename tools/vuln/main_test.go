package main

import (
	"strings"
	"testing"
	"time"
)

const page = `
| ids | where | until | why |
| --- | --- | --- | --- |
| GO-1, GO-2 | product, e2e | 2026-12-31 | nobody ever calls what is broken there |
`

// said is the form in which govulncheck says it.
const said = `{"config":{"protocol_version":"v1.0.0"}}
{"osv":{"id":"GO-1","summary":"first"}}
{"osv":{"id":"GO-3","summary":"third"}}
{"finding":{"osv":"GO-1","fixed_version":"v1.1.0","trace":[{"module":"m","version":"v1.0.0"}]}}
{"finding":{"osv":"GO-1","fixed_version":"v1.1.0","trace":[{"module":"m","version":"v1.0.0","package":"m/p"}]}}
{"finding":{"osv":"GO-1","fixed_version":"v1.1.0","trace":[{"module":"m","version":"v1.0.0","package":"m/p","function":"F"}]}}
{"finding":{"osv":"GO-3","trace":[{"module":"n","version":"v1.0.0"}]}}
{"finding":{"osv":"GO-4","trace":[{"module":"n","version":"v1.0.0","package":"n"}]}}
`

func TestFindingsAreJudgedByThePage(t *testing.T) {
	known, err := parseKnown(page)
	if err != nil || len(known) != 2 {
		t.Fatal(known, err)
	}
	found, err := read(strings.NewReader(said))
	if err != nil || len(found) != 2 || found["GO-1"].symbol != "m/p.F" || found["GO-1"].summary != "first" {
		t.Fatal(found, err)
	}
	last := time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		part string
		now  time.Time
		want int
	}{{"product", last, 1}, {"e2e", last, 1}, {"charttest", last, 2}, {"product", last.AddDate(0, 0, 2), 2}} {
		if bad := known.judge(c.part, found, c.now); len(bad) != c.want {
			t.Errorf("%s at %v: %q", c.part, c.now, bad)
		}
	}
}

func TestAPageThatExplainsNothingIsRefused(t *testing.T) {
	for _, row := range []string{
		"| GO-1 | product | 2026-12-31 | no |", "| GO-1 | product | soon | nobody ever calls what is broken there |",
		"| GO-1 | product | nobody ever calls what is broken there |",
		"| GO-1, GO-1 | product | 2026-12-31 | nobody ever calls what is broken there |",
	} {
		if known, err := parseKnown(row); err == nil {
			t.Errorf("%s is read as %v", row, known)
		}
	}
	if _, err := read(strings.NewReader("")); err == nil {
		t.Error("silence is taken for no finding")
	}
}
