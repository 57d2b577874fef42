package cli

import (
	"fmt"
	"io"

	"github.com/keyorch/keyorch/devices/exec"
)

func printVerdict(w io.Writer, v verdict) {
	mark := map[string]string{"passed": "ok", "failed": "FAILED", "skipped": "skipped"}[v.Result]
	_, _ = fmt.Fprintf(w, "%-8s %-10s  %s\n", mark, v.Role, v.Check)
	if v.Why != "" {
		_, _ = fmt.Fprintf(w, "%-20s  %s\n", "", v.Why)
	}
}

// printLeft is the end of a checkup: how many checks were passed, and what is left
// on the gear.
func printLeft(w io.Writer, verdicts []verdict, failed int, left []exec.Left) {
	skipped := 0
	for _, v := range verdicts {
		if v.Result == "skipped" {
			skipped++
		}
	}
	_, _ = fmt.Fprintf(w, "\n%d checks: %d passed, %d failed, %d skipped\n", len(verdicts), len(verdicts)-failed-skipped, failed, skipped)
	for i, words := range leftWords(left) {
		if i == 0 {
			_, _ = fmt.Fprintln(w, "left on the gear, which nothing carries:")
		}
		_, _ = fmt.Fprintln(w, "  "+words)
	}
}
