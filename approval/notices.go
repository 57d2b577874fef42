package approval

import (
	"fmt"
	"slices"
	"time"
)

// NoticeKind is what people are told of a request.
type NoticeKind string

// The kinds.
const (
	NoticeWanted    NoticeKind = "approval wanted"
	NoticeReminder  NoticeKind = "reminder"
	NoticeEscalated NoticeKind = "escalated"
	NoticeExpiring  NoticeKind = "expiring"
	NoticeExpired   NoticeKind = "expired"
)

// Notice is one thing to be told. Key is the same whenever it is asked for again, so
// that nobody is told twice.
type Notice struct {
	Key  string
	Kind NoticeKind
	// At is when it was due, and To who is told.
	At time.Time
	To []string
}

// maxNotices bounds the reminders, and the escalations, of one rule.
const maxNotices = 100

// staleAfter is how long people are told of a request whose time is up: whoever could not
// be told meanwhile has no use for it any more.
const staleAfter = 24 * time.Hour

// Notices are those that are due at now, in the order of their times, of a request that
// stands as d says. Nothing more is due of one that is approved, rejected or used, or whose
// time was up a day ago; what has been told before stays due until then.
//
// First as many approvers are asked as have to sign, in the order of the rule. After
// each EscalateAfter one more is.
func Notices(r Request, rules []Rule, d Decision, now time.Time) []Notice {
	if d.State != Wanted && d.State != Expired || now.Sub(r.Expires) > staleAfter {
		return nil
	}
	var all []Notice
	id := r.ID()
	add := func(rule Rule, kind NoticeKind, n int, at time.Time, to []string) {
		if at.After(now) || len(to) == 0 || kind != NoticeExpired && !at.Before(r.Expires) {
			return
		}
		all = append(all, Notice{Key: fmt.Sprintf("%s/%s/%s/%d", id, rule.Name, kind, n), Kind: kind, At: at, To: to})
	}
	for i, rule := range rules {
		if i >= len(d.Rules) || len(d.Rules[i].By) >= d.Rules[i].Needed {
			continue
		}
		s := d.Rules[i]
		asked := func(at time.Time) []string { return s.Open[:rule.asked(s, r.At, at)] }
		every := func(step time.Duration, tell func(n int, at time.Time)) {
			at := r.At
			for n := 1; n <= maxNotices && step > 0 && step <= min(now.Sub(at), r.Expires.Sub(at)); n++ {
				at = at.Add(step)
				tell(n, at)
			}
		}
		add(rule, NoticeWanted, 0, r.At, asked(r.At))
		every(rule.RemindAfter, func(n int, at time.Time) { add(rule, NoticeReminder, n, at, asked(at)) })
		every(rule.EscalateAfter, func(n int, at time.Time) {
			if before, then := asked(at.Add(-1)), asked(at); len(then) > len(before) {
				add(rule, NoticeEscalated, n, at, then[len(before):])
			}
		})
		good := r.Expires.Sub(r.At)
		expiring := r.Expires.Add(-min(time.Hour, good/4))
		add(rule, NoticeExpiring, 0, expiring, asked(expiring))
		add(rule, NoticeExpired, 0, r.Expires, asked(r.Expires))
	}
	slices.SortStableFunc(all, func(a, b Notice) int { return a.At.Compare(b.At) })
	return all
}

// asked is how many of those who have not signed are asked at an instant that is not
// before since.
func (r Rule) asked(s Standing, since, at time.Time) int {
	n := min(s.Needed-len(s.By), len(s.Open))
	if r.EscalateAfter > 0 {
		n += int(at.Sub(since) / r.EscalateAfter)
	}
	return min(n, len(s.Open))
}
