package frr

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// lifetime is when a key is sent with, or accepted, in the words of FRR. The
// empty lifetime is always.
type lifetime string

const (
	always lifetime = ""
	// never is a second of 1993, the first year that FRR takes. A time to come
	// would end some day (FRR takes none after 2035), and before this one no clock
	// stands that lost its battery: such clocks begin at 1970.
	never lifetime = "00:00:00 Jan 01 1993 00:00:01 Jan 01 1993"
)

// stamp is how FRR writes a point in time.
const stamp = "15:04:05 Jan 2 2006"

// parseLifetime reads what stands after send-lifetime, in any form that FRR
// shows. Times are those of the host.
func parseLifetime(s string) (start, end time.Time, forever bool, err error) {
	words := strings.Fields(s)
	wrong := fmt.Errorf("%q is not a lifetime", s)
	if len(words) < 5 {
		return start, end, false, wrong
	}
	if start, err = parseStamp(words[:4]); err != nil {
		return start, end, false, wrong
	}
	switch rest := words[4:]; {
	case len(rest) == 1 && rest[0] == "infinite":
		return start, end, true, nil
	case len(rest) == 2 && rest[0] == "duration":
		n, err := strconv.ParseUint(rest[1], 10, 31)
		if err != nil {
			return start, end, false, wrong
		}
		return start, start.Add(time.Duration(n) * time.Second), false, nil
	case len(rest) == 4:
		if end, err = parseStamp(rest); err == nil {
			return start, end, false, nil
		}
	}
	return start, end, false, wrong
}

func parseStamp(words []string) (time.Time, error) {
	return time.ParseInLocation(stamp, strings.Join(words, " "), time.Local)
}

// covers reports whether now is in the lifetime. One that cannot be read, which
// the parser of the configuration lets through to nobody, covers nothing.
func (l lifetime) covers(now time.Time) bool {
	if l == always {
		return true
	}
	start, end, forever, err := parseLifetime(string(l))
	return err == nil && !now.Before(start) && (forever || !now.After(end))
}

// over reports whether the lifetime has ended, and so will never cover a time to
// come.
func (l lifetime) over(now time.Time) bool {
	if l == always {
		return false
	}
	_, end, forever, err := parseLifetime(string(l))
	return err == nil && !forever && now.After(end)
}
