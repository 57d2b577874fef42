package topology_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/keyorch/keyorch/topology"
)

// at reads a moment with its offset.
func at(t *testing.T, s string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func window(from, to string, days ...time.Weekday) topology.Window {
	return topology.Window{Days: days, From: from, To: to}
}

func TestClosed(t *testing.T) {
	berlin := func(windows ...topology.Window) topology.Policy {
		return topology.Policy{TimeZone: "Europe/Berlin", Windows: windows}
	}
	frozen := func(p topology.Policy, freezes ...topology.Freeze) topology.Policy {
		p.Freezes = freezes
		return p
	}
	night := berlin(window("22:00", "04:00"))
	for _, c := range []struct {
		name   string
		policy topology.Policy
		now    string
		until  string // "open", a moment, or "" for not within five weeks
	}{
		{"a policy without windows is always open", topology.Policy{}, "2026-06-01T12:00:00Z", "open"},
		{"a window opens on its minute", night, "2026-06-01T22:00:00+02:00", "open"},
		{"not a second before", night, "2026-06-01T21:59:59+02:00", "2026-06-01T22:00:00+02:00"},
		{"it is open over midnight", night, "2026-06-02T03:59:59+02:00", "open"},
		{"it is closed on the minute of its end", night, "2026-06-02T04:00:00+02:00", "2026-06-02T22:00:00+02:00"},
		{"a zone without a name is UTC", topology.Policy{Windows: []topology.Window{window("22:00", "04:00")}}, "2026-06-01T22:30:00+02:00", "2026-06-01T22:00:00Z"},
		{"a window of Monday night is open on Tuesday morning", berlin(window("22:00", "04:00", time.Monday)), "2026-06-02T01:00:00+02:00", "open"},
		{"and not on Monday morning", berlin(window("22:00", "04:00", time.Monday)), "2026-06-01T01:00:00+02:00", "2026-06-01T22:00:00+02:00"},
		{"the next Monday is a week away", berlin(window("22:00", "04:00", time.Monday)), "2026-06-02T05:00:00+02:00", "2026-06-08T22:00:00+02:00"},
		{"the first of several windows", berlin(window("22:00", "23:00"), window("12:00", "13:00")), "2026-06-02T05:00:00+02:00", "2026-06-02T12:00:00+02:00"},
		{"a whole day", berlin(window("00:00", "24:00", time.Saturday)), "2026-06-06T23:59:59+02:00", "open"},
		{"and no more", berlin(window("00:00", "24:00", time.Saturday)), "2026-06-07T00:00:00+02:00", "2026-06-13T00:00:00+02:00"},

		// 29 March 2026: 02:00 CET is 03:00 CEST.
		{"spring: the night is an hour shorter", night, "2026-03-29T03:59:59+02:00", "open"},
		{"spring: its end stays on the clock", night, "2026-03-29T04:00:00+02:00", "2026-03-29T22:00:00+02:00"},
		{"spring: an end that does not exist is the skip", berlin(window("22:00", "02:30")), "2026-03-29T01:59:59+01:00", "open"},
		{"spring: and not later", berlin(window("22:00", "02:30")), "2026-03-29T03:00:00+02:00", "2026-03-29T22:00:00+02:00"},
		{"spring: a start that does not exist is the skip", berlin(window("02:30", "05:00")), "2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"},
		{"spring: and open from there", berlin(window("02:30", "05:00")), "2026-03-29T03:00:00+02:00", "open"},
		{"spring: a window within the skip is not that night", berlin(window("02:10", "02:50")), "2026-03-29T01:00:00+01:00", "2026-03-30T02:10:00+02:00"},

		// 25 October 2026: 03:00 CEST is 02:00 CET.
		{"autumn: the night is an hour longer", night, "2026-10-25T03:59:59+01:00", "open"},
		{"autumn: its end stays on the clock", night, "2026-10-25T04:00:00+01:00", "2026-10-25T22:00:00+01:00"},
		{"autumn: an end that comes twice is the first", berlin(window("22:00", "02:30")), "2026-10-25T02:29:59+02:00", "open"},
		{"autumn: and not the second", berlin(window("22:00", "02:30")), "2026-10-25T02:29:59+01:00", "2026-10-25T22:00:00+01:00"},
		{"autumn: a start that comes twice is the first", berlin(window("02:30", "05:00")), "2026-10-25T02:30:00+02:00", "open"},
		{"autumn: and it stays open when the clock goes back", berlin(window("02:30", "05:00")), "2026-10-25T02:10:00+01:00", "open"},
		{"autumn: a window within the hour that comes twice is once", berlin(window("02:10", "02:50")), "2026-10-25T02:20:00+01:00", "2026-10-26T02:10:00+01:00"},

		{"Samoa had no 30 December 2011", topology.Policy{TimeZone: "Pacific/Apia", Windows: []topology.Window{window("22:00", "04:00", time.Thursday)}},
			"2011-12-29T23:59:00-10:00", "open"},
		{"and a window that begins on it does not", topology.Policy{TimeZone: "Pacific/Apia", Windows: []topology.Window{window("10:00", "12:00", time.Friday)}},
			"2011-12-29T23:59:00-10:00", "2012-01-06T10:00:00+14:00"},

		{"a freeze begins at midnight of its zone", frozen(berlin(), topology.Freeze{From: "2026-12-20", To: "2027-01-03"}), "2026-12-20T00:00:00+01:00", "2027-01-03T00:00:00+01:00"},
		{"not before", frozen(berlin(), topology.Freeze{From: "2026-12-20", To: "2027-01-03"}), "2026-12-19T23:59:59+01:00", "open"},
		{"its end is no part of it", frozen(berlin(), topology.Freeze{From: "2026-12-20", To: "2027-01-03"}), "2027-01-03T00:00:00+01:00", "open"},
		{"after a freeze comes the next window", frozen(night, topology.Freeze{From: "2026-12-20T18:00", To: "2027-01-03T12:00"}), "2026-12-24T23:00:00+01:00", "2027-01-03T22:00:00+01:00"},
		{"a freeze that ends within a window opens it", frozen(night, topology.Freeze{From: "2026-12-20T18:00", To: "2027-01-03T01:00"}), "2026-12-24T12:00:00+01:00", "2027-01-03T01:00:00+01:00"},
		{"a window that opens into a freeze waits for its end", frozen(night, topology.Freeze{From: "2026-06-01T21:00", To: "2026-06-01T23:00"}), "2026-06-01T20:00:00+02:00", "2026-06-01T23:00:00+02:00"},
		{"freezes that touch are one", frozen(berlin(), topology.Freeze{From: "2026-06-01", To: "2026-06-02"}, topology.Freeze{From: "2026-06-02", To: "2026-06-05"}), "2026-06-01T12:00:00+02:00", "2026-06-05T00:00:00+02:00"},
		{"freezes within each other are the outer one", frozen(berlin(), topology.Freeze{From: "2026-06-02", To: "2026-06-03"}, topology.Freeze{From: "2026-06-01", To: "2026-06-05"}), "2026-06-02T12:00:00+02:00", "2026-06-05T00:00:00+02:00"},
		{"a freeze of a year has no end in sight", frozen(berlin(), topology.Freeze{From: "2026-01-01", To: "2027-01-01"}), "2026-06-01T12:00:00+02:00", ""},
		{"autumn: a freeze ends at the second 02:30", frozen(berlin(), topology.Freeze{From: "2026-10-24", To: "2026-10-25T02:30"}), "2026-10-25T02:29:59+01:00", "2026-10-25T02:30:00+01:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.policy.Closed(at(t, c.now))
			switch {
			case c.until == "open":
				if !got.Open() || got != (topology.Closure{}) {
					t.Errorf("closed: %+v", got)
				}
				return
			case got.Open():
				t.Errorf("open, want closed until %s", c.until)
			case c.until == "":
				if !got.Until.IsZero() {
					t.Errorf("until %s, want no end in sight", got.Until)
				}
				return
			case !got.Until.Equal(at(t, c.until)):
				t.Errorf("until %s, want %s", got.Until.Format(time.RFC3339), c.until)
			}
			// What is promised is true, and not a second earlier.
			if again := c.policy.Closed(got.Until); !again.Open() {
				t.Errorf("at %s it is still closed: %+v", got.Until, again)
			}
			if before := c.policy.Closed(got.Until.Add(-time.Second)); before.Open() {
				t.Errorf("it is open already before %s", got.Until)
			}
		})
	}
}

func TestTheReasonOfAClosureSaysWhatClosed(t *testing.T) {
	p := topology.Policy{TimeZone: "Europe/Berlin", Windows: []topology.Window{window("22:00", "04:00", time.Monday, time.Tuesday), window("12:00", "13:00")},
		Freezes: []topology.Freeze{{From: "2026-12-20", To: "2027-01-03", Reason: "year end"}}}
	for now, want := range map[string]string{
		"2026-12-18T10:00:00+01:00": "outside of the windows mon tue 22:00-04:00, 12:00-13:00 (Europe/Berlin)",
		"2026-12-21T12:30:00+01:00": "frozen from 2026-12-20 to 2027-01-03 (Europe/Berlin): year end",
	} {
		if got := p.Closed(at(t, now)).Reason; got != want {
			t.Errorf("at %s: %q, want %q", now, got, want)
		}
	}
}

func TestNextTimesOfASchedule(t *testing.T) {
	for _, c := range []struct {
		name, zone, cron, now string
		want                  []string
	}{
		{"nightly, over the change in spring", "Europe/Berlin", "0 4 * * *", "2026-03-28T12:00:00+01:00",
			[]string{"2026-03-29T04:00:00+02:00", "2026-03-30T04:00:00+02:00"}},
		{"a time that does not exist is left out", "Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00+01:00",
			[]string{"2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"}},
		{"a time that comes twice fires twice", "Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00+02:00",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"}},
		{"without a zone it is UTC", "", "0 2 * * mon", "2026-06-01T04:00:00+02:00",
			[]string{"2026-06-08T02:00:00Z", "2026-06-15T02:00:00Z"}},
		{"the moment itself is past", "", "*/10 * * * *", "2026-06-01T00:10:00Z", []string{"2026-06-01T00:20:00Z", "2026-06-01T00:30:00Z"}},
		{"a leap day", "", "0 0 29 2 *", "2026-06-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"never", "", "0 0 30 2 *", "2026-06-01T00:00:00Z", nil},
		{"no schedule", "", "", "2026-06-01T00:00:00Z", nil},
		{"nonsense", "", "TZ=\t* * * *", "2026-06-01T00:00:00Z", nil},
	} {
		p := topology.Policy{TimeZone: c.zone, Schedule: topology.Schedule{Cron: c.cron}}
		got := p.Next(at(t, c.now), 2)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
			continue
		}
		for i, w := range c.want {
			if got[i].Format(time.RFC3339) != w {
				t.Errorf("%s: %s, want %s", c.name, got[i].Format(time.RFC3339), w)
			}
		}
	}
}

func TestLocation(t *testing.T) {
	for zone, want := range map[string]string{"": "UTC", "Europe/Berlin": "Europe/Berlin", "Europe/Nowhere": "UTC"} {
		if got := (topology.Policy{TimeZone: zone}).Location().String(); got != want {
			t.Errorf("%q: %s, want %s", zone, got, want)
		}
	}
}
