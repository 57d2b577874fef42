package topology_test

import (
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

func TestSelectors(t *testing.T) {
	canary := topology.Labels{"tier": "canary", "region": "north", "example.com/rack": "7"}
	for _, c := range []struct {
		selector      string
		matches, bare bool // the canary, and what has no labels
		empty         bool
	}{
		{selector: "", matches: true, bare: true, empty: true},
		{selector: "  ", matches: true, bare: true, empty: true},
		{selector: "tier=canary", matches: true},
		{selector: "tier==canary,region=north", matches: true},
		{selector: "tier=canary,region=south"},
		{selector: "tier!=canary", bare: true},
		{selector: "tier", matches: true},
		{selector: "!tier", bare: true},
		{selector: "region in (north, south),tier notin (core)", matches: true},
		{selector: "region notin (north)", bare: true},
		{selector: "example.com/rack=7", matches: true},
		{selector: "example.com/rack>6", matches: true},
		{selector: "tier="},
		{selector: "legacy="},
	} {
		s, err := topology.ParseSelector(c.selector)
		if err != nil {
			t.Errorf("%q: %v", c.selector, err)
			continue
		}
		if got := s.Matches(canary); got != c.matches {
			t.Errorf("%q matches the canary: %v", c.selector, got)
		}
		if got := s.Matches(nil); got != c.bare {
			t.Errorf("%q matches what has no labels: %v", c.selector, got)
		}
		if s.Empty() != c.empty || s.String() != strings.TrimSpace(c.selector) {
			t.Errorf("%q: empty %v, written %q", c.selector, s.Empty(), s)
		}
	}
	if !(topology.Selector{}).Matches(canary) {
		t.Error("the zero selector does not match everything")
	}
}

func TestSelectorsThatCannotBeReadSayWhere(t *testing.T) {
	for selector, want := range map[string]string{
		"=":                       `at character 1, "="`,
		"tier=canary,,region":     `has nothing at character 13`,
		"tier=canary,":            `has nothing at character 13`,
		",":                       `has nothing at character 1`,
		"a=1,b in (x,y),c in (z":  `at character 16, "c in (z": found the end`,
		"a in ()x":                `at character 1, "a in ()x"`,
		"a=1, b = = 2":            `at character 5, "b = = 2"`,
		"-a=1":                    `at character 1, "-a=1"`,
		"a=1\n,b":                 ``,
		"a=b\x00,c=d":             `at character 4`,
		"a>x":                     `at character 1`,
		strings.Repeat("a", 5000): `longer than 4096 characters`,
		"a in (b,c":               `at character 1`,
		"a)":                      `at character 1`,
	} {
		s, err := topology.ParseSelector(selector)
		switch {
		case want == "":
			if err != nil {
				t.Errorf("%q: %v", selector, err)
			}
		case !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x00"):
			t.Errorf("%q: says %v, want %s", selector, err, want)
		case !s.Empty():
			t.Errorf("%q: a refused selector is not empty", selector)
		}
	}
}
