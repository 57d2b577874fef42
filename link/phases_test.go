package link_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

const phasesFile = "../docs/phases.md"

// TestPhases keeps the phase diagram true: it is made by driving Step from every
// phase with every kind of event. Rewrite it with -update.
func TestPhases(t *testing.T) {
	got := phases(t)
	old, err := os.ReadFile(phasesFile)
	if err == nil && string(old) == got {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the code does (rewrite it with -update): %v\n%s", phasesFile, err, got)
	}
	if err := os.WriteFile(phasesFile, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
}

// course is one way in which a link comes to pass the phases.
type course struct {
	name  string
	start link.State
	event link.Event
}

func courses(t *testing.T) []course {
	empty := link.New([]keychain.NodeID{"u"}, []keychain.NodeID{"d"})
	steady := run(t, empty, link.Rotate{Epoch: 1})
	switching := advance(t, must(t, steady, link.Rotate{Epoch: 2}), link.Switching)
	return []course{
		{"", steady, link.Rotate{Epoch: 2}},
		{"first key", empty, link.Rotate{Epoch: 1}},
		{"going back", switching, link.Abort{}},
		{"node joined", steady, link.Members{Upstream: []keychain.NodeID{"u"}, Downstream: []keychain.NodeID{"d", "e"}}},
	}
}

// forward is the one event that takes s a step on; nil in Steady.
func forward(s link.State) link.Event {
	switch {
	case s.Phase == link.Staging && len(s.Awaiting) == 0:
		return link.Cleared{Turn: s.Turn}
	case s.Phase == link.Draining:
		return link.Drained{Turn: s.Turn}
	case s.Phase == link.Steady:
		return nil
	}
	return obeyed(s, s.Awaiting[0])
}

// obeyed is the report of a node that did what its order asks.
func obeyed(s link.State, n keychain.NodeID) link.Event {
	known := func(k link.Key) keychain.Ref {
		return keychain.Ref{Epoch: k.Epoch, KCV: keychain.KCV(fmt.Sprintf("%010x", uint64(k.Epoch)))}
	}
	r := keychain.Report{Node: n, Turn: s.Asked(n)}
	for _, o := range link.Orders(s) {
		if o.Node != n {
			continue
		}
		for _, k := range o.Accept {
			r.Accepts = append(r.Accepts, known(k))
		}
		if !o.Send.IsZero() {
			r.Sends = known(o.Send)
		}
	}
	return link.Reported{Report: r}
}

func must(t testing.TB, s link.State, e link.Event) link.State {
	next, err := link.Step(s, e)
	if err != nil {
		t.Fatalf("Step(%+v, %+v): %v", s, e, err)
	}
	return next
}

// run takes s through event e and on to Steady.
func run(t testing.TB, s link.State, e link.Event) link.State {
	for s = must(t, s, e); s.Phase != link.Steady; {
		s = must(t, s, forward(s))
	}
	return s
}

// advance takes s to phase p.
func advance(t testing.TB, s link.State, p link.Phase) link.State {
	for s.Phase != p {
		s = must(t, s, forward(s))
	}
	return s
}

type arrow struct {
	from, to link.Phase
	label    string
}

// arrows is every change of phase that one event can make.
func arrows(t *testing.T) []arrow {
	seen := map[arrow][]string{}
	var order []arrow
	try := func(name string, s link.State, label string, e link.Event) {
		next, err := link.Step(s, e)
		if err != nil || next.Turn == s.Turn {
			return
		}
		a := arrow{s.Phase, next.Phase, label}
		if seen[a] == nil {
			order = append(order, a)
		}
		if !slices.Contains(seen[a], name) {
			seen[a] = append(seen[a], name)
		}
	}
	for _, c := range courses(t) {
		for s := c.start; ; {
			for _, e := range events(s) {
				try(c.name, s, e.label, e.event)
			}
			if e := forward(s); e != nil {
				s = must(t, s, e)
			} else if s.Turn == c.start.Turn {
				s = must(t, s, c.event)
			} else {
				break
			}
		}
	}
	for i, a := range order {
		if names := seen[a]; !slices.Contains(names, "") {
			order[i].label = fmt.Sprintf("%s (%s)", a.label, strings.Join(names, ", "))
		}
	}
	slices.SortStableFunc(order, func(a, b arrow) int { return int(a.from) - int(b.from) })
	return order
}

type labelled struct {
	label string
	event link.Event
}

func events(s link.State) []labelled {
	list := []labelled{
		{"Rotate", link.Rotate{Epoch: s.Highest + 1}},
		{"Cleared", link.Cleared{Turn: s.Turn}},
		{"Drained", link.Drained{Turn: s.Turn}},
		{"Abort", link.Abort{}},
		{"a node joins", link.Members{Upstream: s.Upstream, Downstream: append(slices.Clone(s.Downstream), "z")}},
	}
	for _, n := range s.Nodes() {
		list = append(list, labelled{"all confirmed", obeyed(s, n)})
		if s.From.IsZero() || s.Restaging() {
			continue
		}
		stranded := keychain.Report{Node: n, Turn: s.Asked(n), Sends: s.From.Ref, Lost: []keychain.Epoch{s.To.Epoch}}
		list = append(list, labelled{"a node is stranded", link.Reported{Report: stranded}})
	}
	return list
}

func phases(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# The phases of a rotation

This page is made from the code: ` + "`go test ./link -run TestPhases -update`" + ` rewrites it.

| phase | downstream accepts | upstream sends | waits for |
| --- | --- | --- | --- |
`)
	c := courses(t)[0]
	s := c.start
	fmt.Fprintln(&b, row(s, s.To))
	for s = must(t, s, c.event); s.Phase != link.Steady; s = advanceOne(t, s) {
		fmt.Fprintln(&b, row(s, s.To))
	}
	b.WriteString("\n```mermaid\nstateDiagram-v2\n    [*] --> Steady\n")
	for _, a := range arrows(t) {
		fmt.Fprintf(&b, "    %v --> %v: %s\n", a.from, a.to, a.label)
	}
	b.WriteString("```\n\n" + `Abort exchanges From and To, and so does a stranded node: one that still sends with From and has lost To. A link
without a key has no From, so Draining and Retiring are passed through; likewise where a node joined and the key in use
is staged again.
`)
	return b.String()
}

func advanceOne(t *testing.T, s link.State) link.State {
	for p := s.Phase; s.Phase == p; {
		s = must(t, s, forward(s))
	}
	return s
}

// row is a line of the table, with the keys by their names.
func row(s link.State, to link.Key) string {
	name := func(k link.Key) string {
		if k.Epoch == to.Epoch {
			return "To"
		}
		return "From"
	}
	var accept []string
	send, waits := "", "nothing"
	for _, o := range link.Orders(s) {
		for _, k := range o.Accept {
			accept = append(accept, name(k))
		}
		if !o.Send.IsZero() {
			send = name(o.Send)
		}
	}
	switch {
	case s.Phase == link.Draining:
		waits = "evidence that nothing keyed with From is in flight"
	case len(s.Awaiting) > 0 && slices.Equal(s.Awaiting, s.Upstream):
		waits = "every upstream node"
	case len(s.Awaiting) > 0 && slices.Equal(s.Awaiting, s.Downstream):
		waits = "every downstream node"
	}
	return fmt.Sprintf("| %v | %s | %s | %s |", s.Phase, strings.Join(accept, ", "), send, waits)
}
