package topology_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// everyField is a policy that says something in each.
const everyField = `apiVersion: keyorch/v1
kind: Policy
metadata:
  name: nightly
spec:
  drain: 1m30s
  quiet: 2s
  waves:
    - name: canary
      links: 5
      selector: tier=canary
      soak: 10m
    - links: 20
      soak: 500ms
    - name: a tenth
      percent: 10
    - percent: 33.3
    - percent: 100
  budget:
    campaign: 2.5%
    wave: 5
    onSpent: abort
  wait: 1h
  tail: 48h
  timeZone: Europe/Berlin
  windows:
    - days: [mon, tue]
      from: "22:00"
      to: "04:00"
    - from: "12:00"
      to: "24:00"
  freezes:
    - from: "2026-12-20"
      to: 2027-01-03T06:00
      reason: 'year end: nothing moves'
  quorum: 66%
  keyAge:
    max: 720h
    warn: 600h
  schedule:
    cron: 0 2 * * *
    jitter: 10m
`

func TestAPolicyWithEveryField(t *testing.T) {
	got := parse(t, everyField, topology.Topology{})
	want := topology.Policy{
		Name: "nightly", Drain: 90 * time.Second, Quiet: 2 * time.Second,
		Waves: []topology.Wave{
			{Name: "canary", Size: topology.Amount{Number: 5}, Selector: "tier=canary", Soak: 10 * time.Minute},
			{Size: topology.Amount{Number: 20}, Soak: 500 * time.Millisecond},
			{Name: "a tenth", Size: topology.Amount{Percent: 10}},
			{Size: topology.Amount{Percent: 33.3}},
			{Size: topology.Amount{Percent: 100}},
		},
		Budget: topology.Budget{Campaign: topology.Amount{Percent: 2.5}, Wave: topology.Amount{Number: 5}, OnSpent: topology.AbortWhenSpent},
		Wait:   time.Hour, Tail: 48 * time.Hour,
		KeyAge:   topology.KeyAge{Max: 720 * time.Hour, Warn: 600 * time.Hour},
		TimeZone: "Europe/Berlin",
		Windows: []topology.Window{{Days: []time.Weekday{time.Monday, time.Tuesday}, From: "22:00", To: "04:00"},
			{From: "12:00", To: "24:00"}},
		Freezes:  []topology.Freeze{{From: "2026-12-20", To: "2027-01-03T06:00", Reason: "year end: nothing moves"}},
		Quorum:   topology.Amount{Percent: 66},
		Schedule: topology.Schedule{Cron: "0 2 * * *", Jitter: 10 * time.Minute},
	}
	if !reflect.DeepEqual(got.Policies[0], want) {
		t.Errorf("read\n%+v\nwant\n%+v", got.Policies[0], want)
	}
	// A field that is new in Policy must be in the document above.
	for value, i := reflect.ValueOf(want), 0; i < value.NumField(); i++ {
		if name := value.Type().Field(i).Name; value.Field(i).IsZero() && name != "Labels" {
			t.Errorf("%s has nothing in it", name)
		}
	}
	sameAfterWriting(t, got)
	var out bytes.Buffer
	if err := topology.Encode(&out, got); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(everyField), "\n") {
		if plain := strings.NewReplacer(`"`, "", "'", "").Replace; !strings.Contains(plain(out.String()), plain(line)) {
			t.Errorf("written without %q:\n%s", line, out.String())
		}
	}
}

func TestTheDefaultPolicyIsWrittenAndReadAsItIs(t *testing.T) {
	p := topology.DefaultPolicy()
	p.Name = "default"
	sameAfterWriting(t, topology.Topology{Policies: []topology.Policy{p}})
	// What would be a default if it were left out is written.
	p.Drain, p.Tail, p.Budget.Campaign, p.Budget.Wave = 0, 0, topology.Amount{}, topology.Amount{}
	sameAfterWriting(t, topology.Topology{Policies: []topology.Policy{p}})
	if err := (topology.Topology{Policies: []topology.Policy{p}}).Validate(nil); err != nil {
		t.Error(err)
	}
}

func TestAPolicyFromAnEarlierVersionHasTheDefaults(t *testing.T) {
	var got topology.Policy
	if err := json.Unmarshal([]byte(`{"apiVersion":"keyorch/v1","kind":"Policy","metadata":{"name":"p"},"spec":{"drain":"5s"}}`), &got); err != nil {
		t.Fatal(err)
	}
	want := topology.DefaultPolicy()
	want.Name = "p"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

func TestPoliciesThatNoDocumentCouldBeAreRefused(t *testing.T) {
	policy := func(change func(*topology.Policy)) topology.Topology {
		p := topology.DefaultPolicy()
		p.Name = "p"
		change(&p)
		return topology.Topology{Policies: []topology.Policy{p}}
	}
	for field, change := range map[string]func(*topology.Policy){
		"spec.quorum":             func(p *topology.Policy) { p.Quorum = topology.Amount{Number: 2, Percent: 50} },
		"spec.budget.wave":        func(p *topology.Policy) { p.Budget.Wave = topology.Amount{Percent: -1} },
		"spec.budget.campaign":    func(p *topology.Policy) { p.Budget.Campaign = topology.Amount{Number: -1} },
		"spec.budget.onSpent":     func(p *topology.Policy) { p.Budget.OnSpent = "stop" },
		"spec.waves[0]":           func(p *topology.Policy) { p.Waves = []topology.Wave{{Size: topology.Amount{Number: 2, Percent: 50}}} },
		"spec.waves[0].percent":   func(p *topology.Policy) { p.Waves = []topology.Wave{{Size: topology.Amount{Percent: 101}}} },
		"spec.windows[0].days[0]": func(p *topology.Policy) { p.Windows = []topology.Window{window("01:00", "02:00", 7)} },
		"spec.schedule.cron":      func(p *topology.Policy) { p.Schedule.Jitter = time.Minute },
		"spec.wait":               func(p *topology.Policy) { p.Wait = -time.Minute },
	} {
		err := policy(change).Validate(nil)
		if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "Policy p: "+field+": ") {
			t.Errorf("%s: says %v", field, err)
		}
	}
}

func TestSchedulesAndWindows(t *testing.T) {
	for _, c := range []struct {
		name, windows, cron string
		closed              bool
	}{
		{"at the start of the window", `[{from: "22:00", to: "04:00"}]`, "0 22 * * *", false},
		{"at its end", `[{from: "22:00", to: "04:00"}]`, "0 4 * * *", true},
		{"in its last minute", `[{from: "22:00", to: "04:00"}]`, "59 3 * * *", false},
		{"on the morning after its day", `[{days: [sun], from: "22:00", to: "04:00"}]`, "0 2 * * mon", false},
		{"on the morning of its day", `[{days: [sun], from: "22:00", to: "04:00"}]`, "0 2 * * sun", true},
		{"once in a while is enough", `[{days: [sun], from: "02:00", to: "03:00"}]`, "0 2 1 * *", false},
		{"a leap day comes on every day of the week", `[{days: [sun], from: "02:00", to: "03:00"}]`, "0 2 29 2 *", false},
		{"any of the windows", `[{from: "12:00", to: "13:00"}, {from: "02:00", to: "03:00"}]`, "30 2 * * *", false},
		{"often, and never in time", `[{from: "12:00", to: "13:00"}]`, "* 0-11,13-23 * * *", true},
		{"a whole day", `[{days: [sat], from: "00:00", to: "24:00"}]`, "59 23 * * 6", false},
	} {
		text := fmt.Sprintf("apiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: p}\nspec: {windows: %s, schedule: {cron: %q}}\n", c.windows, c.cron)
		_, err := topology.Parse([]topology.Source{{Name: "f.yaml", Data: []byte(text)}}, nil, topology.Topology{})
		if c.closed != (err != nil) || err != nil && !strings.Contains(err.Error(), "fires only when the windows are closed") {
			t.Errorf("%s: says %v", c.name, err)
		}
	}
}

func TestAQuorumIsNoLargerThanTheLinksOfThePolicy(t *testing.T) {
	policy := "---\napiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: p}\nspec: {quorum: %s}\n"
	link := "---\napiVersion: keyorch/v1\nkind: Link\nmetadata: {name: %s}\nspec: {upstream: [a], downstream: [%s], policy: p}\n"
	two := parse(t, before+fmt.Sprintf(policy, "2")+fmt.Sprintf(link, "wide", "b, spare"), topology.Topology{})
	for _, c := range []struct{ name, text, want string }{
		{"as many as there are", fmt.Sprintf(link, "wider", "b, spare"), ""},
		{"a new link of a declared policy", fmt.Sprintf(link, "narrow", "b"),
			`f.yaml:5: Link narrow: spec.policy: policy "p" asks for a quorum of 2 downstream nodes, and the link has 1: name another policy, or more downstream nodes`},
		{"a link that gets narrower", fmt.Sprintf(link, "wide", "b"),
			`f.yaml:5: Link wide: spec.policy: policy "p" asks for a quorum of 2 downstream nodes, and the link has 1: name another policy, or more downstream nodes`},
		{"a policy that asks more of a declared link", fmt.Sprintf(policy, "3"),
			`f.yaml:5: Policy p: spec.quorum: a quorum of 3 asks for more than the downstream nodes of link wide: write at most 2, or a percentage`},
		{"a share always fits", fmt.Sprintf(policy, "100%") + fmt.Sprintf(link, "narrow", "b"), ""},
		{"both at once are said once", fmt.Sprintf(policy, "3") + fmt.Sprintf(link, "narrow", "b"),
			`f.yaml:5: Policy p: spec.quorum: a quorum of 3 asks for more than the downstream nodes of links narrow and wide: write at most 1, or a percentage`},
	} {
		_, err := topology.Parse([]topology.Source{{Name: "f.yaml", Data: []byte(c.text)}}, someKinds(), two)
		if got := fmt.Sprint(err); got != c.want && !(err == nil && c.want == "") {
			t.Errorf("%s: says\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}
