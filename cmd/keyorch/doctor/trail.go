package doctor

import (
	"fmt"
	"time"

	"github.com/keyorch/keyorch/audit"
)

// unsigned is how long a worker may take to have the audit trail signed: it does so every ten
// minutes when nothing happens.
const unsigned = 15 * time.Minute

// judgeTrail looks at the end of the audit trail.
func judgeTrail(a *about, h audit.Head, now time.Time) {
	const name = "audit trail"
	if n := len(h.Breaks); n > 0 {
		b := h.Breaks[n-1]
		a.warn(name, fmt.Sprintf("it was found to be broken at %s: %s", b.At.UTC().Format(time.RFC3339), b.What), "find out who can write to etcd; docs/audit.md says what an export still proves")
		return
	}
	since := h.SignedAt
	if since.IsZero() {
		since = h.Segment.At
	}
	switch {
	case h.Seq == 0:
		a.warn(name, "there is none yet", "start a worker, and run keyorch bootstrap with this version")
	case now.Sub(since) > unsigned:
		a.warn(name, "nobody has signed it for "+span(now.Sub(since)), "see that a worker runs and Vault answers it, and run keyorch bootstrap with this version")
	default:
		a.ok(name, "it is written and signed")
	}
}
