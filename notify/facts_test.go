package notify

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// due are the conditions of facts that are due at a minute.
func due(f Facts, minute int) map[string]Condition {
	out := map[string]Condition{}
	for _, c := range Conditions(f, func(id keychain.LinkID) string { return string(id) + " waits for b" }) {
		if !c.Due.After(at(minute)) {
			if c.Words == "" && c.Say != nil {
				c.Words = c.Say()
			}
			out[c.Key] = c
		}
	}
	return out
}

func TestConditions(t *testing.T) {
	of := func(l LinkFact) Facts { return Facts{Links: []LinkFact{l}} }
	ended := campaign.Record{Name: "c1", State: campaign.Ended, Reason: "3 links: 3 rotated", Ended: at(7), Since: at(7), Tally: campaign.Tally{Links: 3, Rotated: 3}}
	failed := ended
	failed.Tally = campaign.Tally{Links: 3, Rotated: 2, Held: 1}
	moved := link.Finding{Node: "b", Kind: link.OldEpoch, Message: "b sends with epoch 3, not with 4", Repairable: true}
	wrong := link.Finding{Node: "b", Kind: link.WrongKCV, Message: "b has KCV x"}
	for name, c := range map[string]struct {
		facts    Facts
		from     int // the minute from which on it is due
		key      string
		severity topology.Severity
		words    string
		command  string
	}{
		"a link that is held": {of(LinkFact{Link: "ab", Campaign: "c1", Phase: link.Staging, Entered: at(0), Patience: 10 * time.Minute}),
			10, "link.held/ab", topology.Error, "ab waits for b", "keyorch why ab"},
		"a key near its maximum": {of(LinkFact{Link: "ab", Made: at(0), Age: topology.KeyAge{Max: 100 * time.Minute}}),
			90, "key.aging/ab", topology.Warning, "link ab: its key, made 2026-11-02T12:00:00Z, comes near its maximum age of 1h40m0s", "keyorch why ab"},
		"a key that the policy warns of": {of(LinkFact{Link: "ab", Made: at(0), Age: topology.KeyAge{Max: 100 * time.Minute, Warn: 30 * time.Minute}}),
			30, "key.aging/ab", topology.Warning, "comes near", "keyorch why ab"},
		"a warning alone": {of(LinkFact{Link: "ab", Made: at(0), Age: topology.KeyAge{Warn: 30 * time.Minute}}),
			30, "key.aging/ab", topology.Warning, "is older than 30m0s", "keyorch why ab"},
		"a key beyond its maximum": {of(LinkFact{Link: "ab", Made: at(0), Age: topology.KeyAge{Max: 100 * time.Minute}}),
			100, "key.overdue/ab", topology.Error, "is beyond its maximum age of 1h40m0s", "keyorch why ab"},
		"drift": {of(LinkFact{Link: "ab", Drift: []link.Finding{moved}, Drifting: at(3)}),
			4, "drift.found/ab", topology.Warning, "link ab differs from what is asked of it: b sends with epoch 3, not with 4", "keyorch drift ab"},
		"drift that does not come right": {of(LinkFact{Link: "ab", Drift: []link.Finding{wrong, moved}, Drifting: at(3)}),
			4, "drift.found/ab", topology.Error, "b has KCV x (and 1 more)", "keyorch drift ab"},
		"an agent that is gone": {Facts{Absent: []Absence{{Node: "b", Site: "dc2", Since: at(3)}}},
			4, "agent.gone/b", topology.Error, "no agent serves node b of site dc2", "keyorch why b"},
		"a pause": {Facts{Campaigns: []campaign.Record{{Name: "c1", State: campaign.Paused, Reason: "paused by an operator: fibre", Since: at(3)}}},
			3, "campaign.paused/c1/1793620980", topology.Warning, "campaign c1 is paused by an operator: fibre", "keyorch why c1"},
		"a spent budget": {Facts{Campaigns: []campaign.Record{{Name: "c1", State: campaign.Paused, Reason: "2 of 10 links of the wave failed, and its budget is 10%", Since: at(3)}}},
			3, "campaign.budget_spent/c1/1793620980", topology.Error, "campaign c1 has spent its budget and is paused: 2 of 10", "keyorch why c1"},
		"a spent budget that aborts": {Facts{Campaigns: []campaign.Record{{Name: "c1", State: campaign.Aborting, Reason: "2 of 10", Since: at(3)}}},
			3, "campaign.budget_spent/c1/1793620980", topology.Error, "is aborting", "keyorch why c1"},
		"an end":               {Facts{Campaigns: []campaign.Record{ended}}, 7, "campaign.finished/c1/1793621220", topology.Info, "campaign c1 has ended: 3 links: 3 rotated", "keyorch why c1"},
		"an end with failures": {Facts{Campaigns: []campaign.Record{failed}}, 7, "campaign.finished/c1/1793621220", topology.Warning, "has ended", "keyorch why c1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, early := due(c.facts, c.from-1)[c.key]; early {
				t.Errorf("is due too early: %+v", got)
			}
			got, ok := due(c.facts, c.from)[c.key]
			if !ok {
				t.Fatalf("is not due: %+v", due(c.facts, c.from))
			}
			if got.Severity != c.severity || !strings.Contains(got.Words, c.words) || got.Command != c.command || got.Subject == "" {
				t.Errorf("is %+v", got)
			}
		})
	}
}

func TestWhatIsWellIsNoCondition(t *testing.T) {
	f := Facts{
		Links: []LinkFact{{Link: "ab", Phase: link.Steady, Entered: at(0), Made: at(0)}, {Link: "new", Phase: link.Steady, Age: topology.KeyAge{Max: time.Minute}}},
		Campaigns: []campaign.Record{{Name: "c1", State: campaign.Running, Since: at(0)},
			{Name: "c2", State: campaign.Aborting, Reason: "aborted by an operator: no", Since: at(0)}},
	}
	if got := due(f, 10_000); len(got) != 0 {
		t.Errorf("tells %+v", got)
	}
	if got := AuditCondition("", noon()); got != nil {
		t.Errorf("tells %+v", got)
	}
}

func TestApprovalsAreToldUntilTheyAreDecided(t *testing.T) {
	var due []approval.Notice
	add := func(kind approval.NoticeKind, minute int, to string) {
		due = append(due, approval.Notice{Key: "a1/two-eyes/" + string(kind) + "/0", Kind: kind, At: at(minute), To: []string{to}})
	}
	facts := func() []Condition { return ApprovalConditions("a1", "rotate --force all links", due) }
	w := newTeller(t, hook("chat"))
	w.tell(0)
	add(approval.NoticeWanted, 1, "ana")
	w.want(w.tell(1, facts()...), "chat approval.wanted a1/two-eyes/approval-wanted/0")
	add(approval.NoticeReminder, 20, "ana")
	w.want(w.tell(20, facts()...), "chat approval.reminder a1/two-eyes/reminder/0")
	add(approval.NoticeEscalated, 30, "bob")
	w.want(w.tell(30, facts()...), "chat approval.escalated a1/two-eyes/escalated/0")
	add(approval.NoticeExpiring, 45, "ana")
	w.want(w.tell(45, facts()...), "chat approval.expiring a1/two-eyes/expiring/0")
	w.want(w.tell(46, facts()...))
	decided := newTeller(t, w.hooks...)
	decided.memory = Memory{Told: maps.Clone(w.memory.Told), Since: w.memory.Since}
	decided.want(decided.tell(50), "chat approval.expiring.resolved a1/two-eyes/expiring/0", "chat approval.wanted.resolved a1/two-eyes/approval-wanted/0")
	add(approval.NoticeExpired, 60, "ana")
	w.want(w.tell(60, facts()...), "chat approval.expiring.resolved a1/two-eyes/expiring/0", "chat approval.wanted.resolved a1/two-eyes/approval-wanted/0",
		"chat approval.expired a1/two-eyes/expired/0")
	w.want(w.tell(61))
}

func TestABrokenTrailIsToldAtOnce(t *testing.T) {
	w := newTeller(t, hook("chat"))
	w.want(w.tell(1, AuditCondition("record 7 is missing", at(1))...), "chat audit.broken audit.broken")
	w.want(w.tell(2, AuditCondition("record 7 is missing", at(1))...))
	w.want(w.tell(3), "chat audit.broken.resolved audit.broken")
}
