package topology_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// FuzzParse: no text makes Parse panic, every refusal is Invalid with problems
// of one line each, and what is accepted is the same after it was written and
// read again.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "../examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for text := range strings.SplitSeq(string(data), "\n---\n") {
				f.Add([]byte(text))
			}
			f.Add(data)
		}
	}
	device := "apiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc1}\n---\napiVersion: keyorch/v1\nkind: Node\nmetadata: {name: n}\nspec:\n  site: dc1\n  device:\n    kind: sim\n    x: "
	for _, value := range []string{`"a\n b\n\n\n"`, `" lead"`, `"\t\n"`, `"\u0085\u2028\ufeff"`, `1e20`, `-0.0`, `0x7fffffffffffffff`, `9.2e18`,
		`"1e3"`, `"=": 1`, `{"<<": 1, "a b": [null, ~]}`, `"\r\n"`, `"\0"`, `|+` + "\n\n     a\n\n", `2026-01-01`, `"y"`, `'#'`, `"\n"`, `"\n\n a"`, `"a: b"`} {
		f.Add([]byte(device + value + "\n"))
	}
	f.Add([]byte("kind:\u0085 a\u2028\u2029\u0085: ["))
	f.Add([]byte(everyField))
	f.Add([]byte(everyWebhookField))
	policy := "apiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: p}\nspec: "
	for _, spec := range []string{`{waves: [{percent: 1e-300}, {}]}`, `{waves: [{selector: "a in (b"}, {percent: 100.0}]}`, `{quorum: 0x2, budget: {wave: "0.000000001%"}}`,
		`{schedule: {cron: "*/7 , * * *"}}`, `{timeZone: ../UTC}`, `{windows: [{from: 22:00, to: 04:00}], schedule: {cron: "0 3 29 feb *"}}`,
		`{freezes: [{from: 2026-12-20, to: 2026-12-20T00:01}]}`, `{wait: 1.5h, tail: 0h, keyAge: {max: 0s}}`, `{waves: [{selector: "\ta=\0"}]}`} {
		f.Add([]byte(policy + spec + "\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := topology.Parse([]topology.Source{{Name: "f", Data: data}}, someKinds(), topology.Topology{})
		var problems topology.Problems
		switch {
		case err == nil:
			sameAfterWriting(t, got)
			if err := got.Validate(someKinds()); err != nil {
				t.Errorf("Parse accepts what Validate refuses: %v", err)
			}
		case !fault.Is(err, fault.Invalid) || !errors.As(err, &problems) || len(problems) == 0:
			t.Errorf("the error is not Invalid with problems: %v", err)
		}
		for _, p := range problems {
			if p.Message == "" || strings.ContainsAny(p.String(), "\n\r\x1b") || p.Line > 2+len(lineBreak.FindAll(data, -1)) {
				t.Errorf("problem %#v", p)
			}
		}
	})
}

// manyLinks are n links between n nodes at 100 sites, as one text.
func manyLinks(n int) []byte {
	var b strings.Builder
	head := func(kind, name string) {
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: %s\nmetadata:\n  name: %s\n", kind, name)
	}
	for i := range 100 {
		head("Site", fmt.Sprintf("dc%d", i))
	}
	for i := range n {
		head("Node", fmt.Sprintf("node-%d", i))
		fmt.Fprintf(&b, "spec:\n  site: dc%d\n  device:\n    kind: sim\n", i%100)
	}
	for i := range n {
		head("Link", fmt.Sprintf("link-%d", i))
		fmt.Fprintf(&b, "spec:\n  upstream: [node-%d]\n  downstream: [node-%d, node-%d]\n", i, (i+1)%n, (i+2)%n)
	}
	return []byte(b.String())
}

func BenchmarkParse10000Links(b *testing.B) {
	sources := []topology.Source{{Name: "many.yaml", Data: manyLinks(10_000)}}
	b.SetBytes(int64(len(sources[0].Data)))
	b.ReportAllocs()
	for b.Loop() {
		got, err := topology.Parse(sources, someKinds(), topology.Topology{})
		if err != nil || len(got.Links) != 10_000 {
			b.Fatalf("%d links, %v", len(got.Links), err)
		}
	}
}

// lineBreak is what ends a line in YAML 1.1, by which the parser counts.
var lineBreak = regexp.MustCompile("[\n\r\u0085\u2028\u2029]")

// FuzzSelector: no text makes ParseSelector panic, and what it accepts means the
// same when it is written and read again.
func FuzzSelector(f *testing.F) {
	for _, s := range []string{"", "a=b", "a in (b,c),!d", "a>5", ",", "a=b,,c", "a in (", "a=\x00", "(", "a=b)"} {
		f.Add(s, "a", "b")
	}
	f.Fuzz(func(t *testing.T, text, key, value string) {
		s, err := topology.ParseSelector(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("says %q", err)
			}
			return
		}
		again, err := topology.ParseSelector(s.String())
		l := topology.Labels{key: value}
		if err != nil || again.Matches(l) != s.Matches(l) || again.Empty() != s.Empty() {
			t.Errorf("%q read again: %v", text, err)
		}
	})
}
