package tui

import (
	"cmp"
	"slices"
)

// block is a part of the screen that can be drawn in more or fewer lines.
type block struct {
	// rank says who is served first, and least how many lines make sense: with
	// fewer the block is left out.
	rank, least int
	want        int
	draw        func(h int) []string
}

// lines is a block of fixed lines, which is cut at the end.
func lines(rank, least int, text ...string) block {
	return block{rank: rank, least: least, want: len(text), draw: func(h int) []string { return text[:min(h, len(text))] }}
}

// stack puts the blocks below each other in height lines. When there are too
// few, every block gets its least by rank, and what is left goes by rank too.
func stack(height int, blocks ...block) []string {
	order := make([]int, 0, len(blocks))
	for i := range blocks {
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(blocks[a].rank, blocks[b].rank) })
	given := make([]int, len(blocks))
	for _, i := range order {
		if need := min(blocks[i].least, blocks[i].want); need <= height {
			given[i] = need
			height -= need
		}
	}
	for _, i := range order {
		if given[i] == 0 && blocks[i].least > 0 {
			continue // it was left out
		}
		more := max(0, min(blocks[i].want-given[i], height))
		given[i] += more
		height -= more
	}
	var out []string
	for i, b := range blocks {
		if given[i] > 0 {
			out = append(out, b.draw(given[i])...)
		}
	}
	return out
}
