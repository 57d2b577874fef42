package link_test

import (
	"cmp"
	"slices"
)

// twoRotations is the plain case, which most teeth bite in.
func twoRotations() config {
	return config{name: "two rotations", up: []int{0, 1}, down: []int{2, 3}, wrong: -1}
}

func configs() []config {
	two, both := []int{0, 1}, []int{0, 1, 2}
	last := []int{2, 3}
	return []config{
		twoRotations(),
		{name: "from the first key on", up: two, down: last, wrong: -1, fresh: true},
		{name: "nodes restart", up: two, down: last, wrong: -1, reboots: 2},
		{name: "counter-bound nodes", up: two, down: last, wrong: -1, counterBound: true, resumes: true},
		{name: "counter-bound nodes restart", up: two, down: last, wrong: -1, counterBound: true, resumes: true, reboots: 2, helped: true},
		{name: "counter-bound nodes that cannot go back", up: two, down: last, wrong: -1, counterBound: true, reboots: 2, helped: true},
		{name: "a downstream node unwraps a wrong key", up: two, down: last, wrong: 2, reboots: 1, helped: true},
		{name: "an upstream node unwraps a wrong key", up: two, down: last, wrong: 0, reboots: 1, helped: true},
		{name: "three nodes share a key", up: both, down: both, wrong: -1, reboots: 1},
		{name: "three counter-bound nodes share a key", up: both, down: both, wrong: -1, counterBound: true, resumes: true, reboots: 1, helped: true},
		{name: "downstream nodes leave and join", up: two, down: last, wrong: -1, reboots: 1, moves: 2, movers: last},
		{name: "a third node joins two that share a key", up: both, down: both, wrong: -1, moves: 2, movers: []int{2}, away: []int{2}},
		{name: "a quorum leaves nodes out", up: []int{0}, down: []int{1, 2, 3}, wrong: -1, quorum: 1, moves: 3, movers: []int{1, 2, 3}},
		{name: "a quorum leaves no sender out", up: two, down: both[1:], wrong: -1, quorum: 1, moves: 2, movers: []int{2}},
		{name: "upstream nodes leave and join", up: two, down: last, wrong: -1, counterBound: true, resumes: true, moves: 2, movers: two, helped: true},
	}
}

// canonical gives the nodes of each side in a fixed order, where nothing tells
// them apart.
func (c config) canonical(w world) world {
	if c.plain {
		return w
	}
	alike := func(a, b int) bool {
		for _, set := range [][]int{c.up, c.down, c.movers} {
			if slices.Contains(set, a) != slices.Contains(set, b) {
				return false
			}
		}
		return a != c.wrong && b != c.wrong
	}
	for _, side := range [][]int{c.up, c.down} {
		for len(side) > 0 {
			n := 1
			for n < len(side) && alike(side[0], side[n]) {
				n++
			}
			slices.SortFunc(w.n[side[0]:side[0]+n], compareNodes)
			side = side[n:]
		}
	}
	return w
}

func compareNodes(a, b node) int {
	return cmp.Or(cmp.Compare(a.order(), b.order()), cmp.Compare(a.reports, b.reports))
}
