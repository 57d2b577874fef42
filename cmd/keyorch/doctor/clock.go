package doctor

import (
	"fmt"
	"time"
)

const (
	// closeEnough is what two clocks may be apart: servers tell theirs to the second.
	closeEnough = 2 * time.Second
	// tooFar is more than certificates and tokens forgive: Vault dates a new
	// certificate back by 30 s.
	tooFar = 30 * time.Second
)

// judgeClock compares this clock with that of a server, which was read between began
// and ended.
func judgeClock(a *about, check string, theirs, began, ended time.Time) {
	off := theirs.Sub(began.Add(ended.Sub(began) / 2))
	doubt := ended.Sub(began)/2 + time.Second // it comes without fractions
	const mend = "have this host and the server set their clocks by the same source (chrony, systemd-timesyncd): certificates and tokens begin and end by them"
	if off.Abs() <= closeEnough+doubt {
		a.ok(check, "within 2 seconds of this host's")
		return
	}
	way := "ahead of"
	if off < 0 {
		way = "behind"
	}
	said := fmt.Sprintf("%s %s this host's", span(off.Abs()), way)
	if off.Abs() > tooFar+doubt {
		a.fail(check, said, mend)
		return
	}
	a.warn(check, said, mend)
}
