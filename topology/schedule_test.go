package topology_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

func TestCheckSchedule(t *testing.T) {
	nights := []topology.Window{{From: "22:00", To: "04:00"}}
	for _, c := range []struct {
		name   string
		policy topology.Policy
		want   string // part of the error; empty: none
	}{
		{"nightly", topology.Policy{TimeZone: "Europe/Berlin", Schedule: topology.Schedule{Cron: "0 2 * * *", Jitter: 10 * time.Minute}}, ""},
		{"inside of a window", topology.Policy{Windows: nights, Schedule: topology.Schedule{Cron: "30 23 * * fri"}}, ""},
		{"no schedule", topology.Policy{}, "schedule.cron: there is none"},
		{"never", topology.Policy{Schedule: topology.Schedule{Cron: "0 2 30 2 *"}}, `schedule.cron: the schedule "0 2 30 2 *" never fires`},
		{"six fields", topology.Policy{Schedule: topology.Schedule{Cron: "0 0 2 * * *"}}, "it has 6 fields, not five"},
		{"two kinds of days", topology.Policy{Schedule: topology.Schedule{Cron: "0 2 1 * mon"}}, "days of the month and days of the week"},
		{"no such zone", topology.Policy{TimeZone: "Europe/Berlni", Schedule: topology.Schedule{Cron: "0 2 * * *"}}, `timeZone: there is no time zone "Europe/Berlni"`},
		{"the zone of this machine", topology.Policy{TimeZone: "Local", Schedule: topology.Schedule{Cron: "0 2 * * *"}}, "timeZone:"},
		{"outside of the windows", topology.Policy{Windows: nights, Schedule: topology.Schedule{Cron: "0 12 * * *"}}, "only when the windows are closed"},
		{"jitter before its time", topology.Policy{Schedule: topology.Schedule{Cron: "0 2 * * *", Jitter: -time.Second}}, "schedule.jitter: a jitter cannot be negative"},
		{"jitter of days", topology.Policy{Schedule: topology.Schedule{Cron: "0 2 * * *", Jitter: 25 * time.Hour}}, "schedule.jitter: a jitter of 25h0m0s is longer than a day"},
	} {
		err := topology.CheckSchedule(c.policy)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	both := topology.Policy{TimeZone: "Nowhere", Schedule: topology.Schedule{Cron: "x"}}
	if err := topology.CheckSchedule(both); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two fields are wrong, and it says: %v", err)
	}
}

func TestCalendarOfASchedule(t *testing.T) {
	got, err := topology.Schedule{Cron: "*/20 1,3 * feb-apr 1/2"}.Calendar()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name      string
		got, want []int
	}{
		{"minutes", got.Minutes, []int{0, 20, 40}}, {"hours", got.Hours, []int{1, 3}}, {"months", got.Months, []int{2, 3, 4}},
		{"weekdays", got.Weekdays, []int{1, 3, 5}},
	} {
		if !slices.Equal(f.got, f.want) {
			t.Errorf("%s: %v, want %v", f.name, f.got, f.want)
		}
	}
	if len(got.Days) != 31 || got.Days[0] != 1 {
		t.Errorf("days: %v, want all", got.Days)
	}
	if _, err := (topology.Schedule{Cron: "often"}).Calendar(); !fault.Is(err, fault.Invalid) {
		t.Errorf("no cron: %v", err)
	}
}
