package rules

import (
	"fmt"
	"strings"
)

// Table writes results as two tables in Markdown: what became of every rule with
// all branches in trouble, and what each kind of trouble costs by itself.
func Table(results []Result) string {
	var whole, parts strings.Builder
	fmt.Fprintf(&whole, "| rule | as in | packets sent | lost | links that never changed key | of these at healthy sites | links without traffic at the end |\n")
	fmt.Fprintf(&whole, "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n")
	fmt.Fprintf(&parts, "| rule |")
	scenarios := Scenarios()
	for _, s := range scenarios {
		fmt.Fprintf(&parts, " %s |", s.Name)
	}
	fmt.Fprintf(&parts, "\n| --- |%s\n", strings.Repeat(" ---: |", len(scenarios)))
	for i, r := range results {
		if i%len(scenarios) == 0 {
			fmt.Fprintf(&parts, "| %s |", r.Rule.Name)
		}
		fmt.Fprintf(&parts, " %s |", cell(r))
		if i%len(scenarios) == len(scenarios)-1 {
			fmt.Fprintln(&parts)
			fmt.Fprintf(&whole, "| %s | %s | %d | %d | %d of %d | %d | %d |\n",
				r.Rule.Name, r.Rule.Like, r.Stats.Sent, r.Stats.Lost.Total(), r.Never, Links, r.Elsewhere, r.Silent)
		}
	}
	return whole.String() + "\nPackets lost, and links that never changed key, by trouble:\n\n" + parts.String()
}

// cell is a result in few words: packets lost, and links that never changed key.
func cell(r Result) string {
	switch lost := r.Stats.Lost.Total(); {
	case lost == 0 && r.Never == 0:
		return "0"
	case r.Never == 0:
		return fmt.Sprint(lost)
	default:
		return fmt.Sprintf("%d, %d stuck", lost, r.Never)
	}
}
