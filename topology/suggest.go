package topology

import (
	"fmt"
	"strings"
)

// nearest is the candidate that word was probably meant to be: at most a third
// of its letters away, and the first of the nearest. Empty when there is none.
func nearest(word string, candidates []string) string {
	best, limit := "", len(word)/3
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), limit); d <= limit {
			best, limit = c, d-1
		}
	}
	return best
}

// distance counts the letters to insert, remove or replace between a and b, and
// the neighbours to exchange (optimal string alignment). Beyond limit it only
// says that it is beyond.
func distance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// kindHint helps with a kind, of documents or of devices, that there is not.
func kindHint(word string, kinds []string) string {
	hint := "the kinds are " + list(kinds)
	if near := nearest(word, kinds); near != "" {
		hint = fmt.Sprintf("did you mean %q? The kinds are %s", near, list(kinds))
	}
	return hint
}

// list writes words as a sentence does: "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
