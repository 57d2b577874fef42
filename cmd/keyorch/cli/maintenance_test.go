package cli

import (
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
)

func TestTheEndOfAMaintenance(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		length time.Duration
		until  string
		want   time.Time
	}{
		{"for four hours", 4 * time.Hour, "", now.Add(4 * time.Hour)},
		{"until a time in another zone", 0, "2026-07-01T18:00:00+02:00", now.Add(4 * time.Hour)},
		{"30 days and no more", longestMaintenance, "", now.Add(longestMaintenance)},
		{"longer", longestMaintenance + time.Second, "", time.Time{}},
		{"neither", 0, "", time.Time{}},
		{"both", time.Hour, "2026-07-02T00:00:00Z", time.Time{}},
		{"negative", -time.Hour, "", time.Time{}},
		{"over", 0, "2026-07-01T12:00:00Z", time.Time{}},
		{"without a zone", 0, "2026-07-02T00:00:00", time.Time{}},
		{"no time", 0, "tomorrow", time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := endOf(now, c.length, c.until)
			if c.want.IsZero() != fault.Is(err, fault.Invalid) || !c.want.IsZero() && !got.Equal(c.want) {
				t.Errorf("it ends %v, %v", got, err)
			}
		})
	}
}
