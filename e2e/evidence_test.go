package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/entitlement"
	"github.com/keyorch/keyorch/evidence"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

const evident = `
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc1}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc2}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: one}
spec: {site: dc1, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: two}
spec: {site: dc2, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: three}
spec: {site: dc2, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: quick}
spec: {drain: 300ms, budget: {campaign: 0, wave: 0}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: watched}
spec: {upstream: [one], downstream: [two, three], policy: quick}
`

// entitled is what `entitlements` gives.
func (w *world) entitled(args ...string) []entitlement.Holding {
	w.t.Helper()
	var out struct{ Items []entitlement.Holding }
	must(w.t, json.Unmarshal([]byte(w.keyorch(0, append([]string{"entitlements", "-o", "json"}, args...)...).Out), &out))
	return out.Items
}

// operated are the verbs in the trail that a person used, with what became of them.
func operated(all []audit.Record, by string) []string {
	var verbs []string
	for _, r := range all {
		if r.By == by && (r.Kind == audit.Operator || r.Kind == audit.Refusal) {
			verbs = append(verbs, strings.Trim(r.Verb+": "+r.Outcome, ": "))
		}
	}
	return verbs
}

// apply declares documents, and lets nobody in for them.
func (w *world) apply(documents string) {
	w.t.Helper()
	documents = os.Expand(documents, os.Getenv)
	source := filepath.Join(w.Lab.Dir, "network.yaml")
	must(w.t, os.WriteFile(source, []byte(documents), 0o600))
	w.keyorch(0, "apply", "-f", source)
	var err error
	w.topo, err = topology.Parse([]topology.Source{{Name: source, Data: []byte(documents)}}, wiring.Kinds(), topology.Topology{})
	must(w.t, err)
}

// TestTheEvidenceOfARotation rotates a link of sites that were enrolled and joined, and
// has the whole of it proven in one file: who asked, who confirmed, who destroyed.
func TestTheEvidenceOfARotation(t *testing.T) {
	w := newWorld(t)
	w.apply(evident)
	w.startWorker()
	for _, site := range []keychain.SiteID{"dc1", "dc2"} {
		dir, _ := w.joined(site)
		w.agents[site] = w.agentOf(site, dir)
	}
	w.traffic()
	first := w.rotate(0, "watched")
	w.exported("before.jsonl") // what is in it is in the chain
	before := time.Now()
	second := w.rotate(0, "watched", "--reason", "the yearly one")
	file := filepath.Join(w.Lab.Dir, "watched.evidence")
	printed := w.keyorch(0, "audit", "evidence", "watched", "-f", file)
	_, keys := w.exported("after.jsonl")
	w.noLoss()

	w.run("it proves the last rotation", func(t *testing.T) {
		said(t, printed.Out, "Campaign   "+second.Campaign, "TIMELINE", "confirmed by three accepts 2", "COUNTERS", "DESTROYED")
		ok := w.nobody(0, "audit", "verify", file, "--key", keys)
		said(t, ok.Out, "verified:", "evidence: link watched, turns", "receipts: every node that had epoch 1 says that it is destroyed (3)")
		shown := w.nobody(0, "audit", "show", "--evidence", file, "-o", "json")
		var c evidence.Case
		must(t, json.Unmarshal([]byte(shown.Out), &c))
		if c.Campaign != second.Campaign || c.Gone != 1 || len(c.Receipts) != 3 || len(c.Missing) != 0 || len(c.Before) == 0 || len(c.After) == 0 {
			t.Errorf("it says %+v", c)
		}
		for _, r := range c.Receipts {
			if want := map[keychain.NodeID]string{"one": "keyorch-agent.dc1", "two": "keyorch-agent.dc2", "three": "keyorch-agent.dc2"}[r.Node]; r.By != want || r.KCV == "" {
				t.Errorf("the receipt of %s is by %s: %+v", r.Node, r.By, r)
			}
		}
		earlier := filepath.Join(w.Lab.Dir, "first.evidence")
		said(t, w.keyorch(0, "audit", "evidence", "watched", "--campaign", first.Campaign, "-f", earlier).Out, "the first key of the link")
		w.nobody(0, "audit", "verify", earlier, "--key", keys)
	})
	w.run("whoever changes it is found out", func(t *testing.T) {
		text, err := os.ReadFile(file)
		must(t, err)
		for name, bad := range map[string]string{
			"another reason":  strings.Replace(string(text), "the yearly one", "the daily one", 1),
			"another node":    strings.Replace(string(text), `"node":"three"`, `"node":"trees"`, 1),
			"a line less":     string(text)[:strings.LastIndex(strings.TrimSpace(string(text)), "\n")+1],
			"another heading": strings.Replace(string(text), `"link":"watched"`, `"link":"another"`, 1),
		} {
			path := filepath.Join(w.Lab.Dir, "bad.evidence")
			must(t, os.WriteFile(path, []byte(bad), 0o600))
			if got := w.nobody(3, "audit", "verify", path, "--key", keys); got.Out == "" && name != "another heading" {
				t.Errorf("%s: nothing is said of the place", name)
			}
		}
	})
	w.run("every verb is recorded under who used it", func(t *testing.T) { w.whoDidWhat(t) })
	w.run("entitlements follow the keys", func(t *testing.T) { w.keysOverTime(t, before) })
}

// whoDidWhat uses verbs as several people, and finds them in the trail.
func (w *world) whoDidWhat(t *testing.T) {
	operator, auditor, root := identity.Identity{Role: identity.Operator}.CommonName(), identity.Identity{Role: identity.Auditor}.CommonName(), "root"
	w.keyorch(0, "maintenance", "set", "dc2", "--for", "1h", "--reason", "fibre work")
	w.keyorch(0, "maintenance", "end", "dc2")
	w.keyorch(3, "maintenance", "end", "dc2") // there is none
	w.keyorch(0, "schedule", "set", "nightly", "watched", "--cron", "0 3 * * *", "--reason", "house rule")
	w.keyorch(0, "schedule", "pause", "nightly", "--reason", "holidays")
	w.keyorch(0, "schedule", "delete", "nightly")
	w.keyorch(3, "abort", "watched", "--reason", "too late")
	env, err := w.Lab.Stack.Env(t.Context(), devstack.Auditor)
	must(t, err)
	w.wanting(3, w.with(env, "maintenance", "set", "dc1", "--for", "1h", "--reason", "mine"), []string{"maintenance set as an auditor"})
	w.exported("people.jsonl")
	all := w.trail()
	inOrder(t, operated(all, operator), "apply: asked", "apply: done", "rotate: asked", "rotate: asked", "maintenance set: done", "maintenance end: done",
		"maintenance end: refused", "schedule set: asked", "schedule pause: asked", "schedule delete: asked", "abort: asked", "abort: refused")
	inOrder(t, operated(all, root), "enroll: done", "enroll: done")
	inOrder(t, operated(all, "keyorch-agent.dc2"), "join: done")
	if got := operated(all, auditor); !slices.Equal(got, []string{"maintenance set: refused"}) {
		t.Errorf("the auditor did %q", got)
	}
	for _, r := range all {
		if r.Kind == audit.Operator && r.Verb == "schedule pause" && (r.Reason != "holidays" || r.Details["schedule"] != "nightly") {
			t.Errorf("recorded %+v", r)
		}
		if r.Kind == audit.Operator && r.Verb == "rotate" && (r.Link != "watched" || r.Campaign == "") {
			t.Errorf("recorded %+v", r)
		}
	}
	for _, c := range w.view.Campaigns() {
		if c.By != operator {
			t.Errorf("campaign %s is by %q", c.Name, c.By)
		}
	}
}

// keysOverTime asks who could open which key.
func (w *world) keysOverTime(t *testing.T, between time.Time) {
	all := w.entitled("watched")
	var got []string
	for _, h := range all {
		state := "in use"
		if !h.Until.IsZero() {
			state = "gone"
		}
		got = append(got, strings.Join([]string{string(h.Node), h.Names(), state}, " "))
	}
	want := []string{
		"one keyorch-agent.dc1 gone", "three keyorch-agent.dc2 gone", "two keyorch-agent.dc2 gone",
		"one keyorch-agent.dc1 in use", "three keyorch-agent.dc2 in use", "two keyorch-agent.dc2 in use",
	}
	if !slices.Equal(got, want) {
		t.Errorf("entitlements\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for at, epoch := range map[string]keychain.Epoch{between.UTC().Format(time.RFC3339Nano): 1, "now": 2} {
		then := w.entitled("watched", "--at", at)
		if len(then) != 3 || then[0].Epoch != epoch || then[2].Epoch != epoch {
			t.Errorf("at %s: %+v", at, then)
		}
	}
	if then := w.entitled("three", "--at", "2020-01-01T00:00:00Z"); len(then) != 0 {
		t.Errorf("before there was anything: %+v", then)
	}
	offline := w.nobody(0, "entitlements", "-f", filepath.Join(w.Lab.Dir, "people.jsonl"))
	said(t, offline.Out, "keyorch-agent.dc2", "in use")
	w.administrator(3, "revoke", "dc2", "--reason", "host stolen", "--timeout", "1s")
	w.exported("revoked.jsonl")
	for _, h := range w.entitled("two", "--at", "now") {
		if h.Excluded.IsZero() || h.Identities[0].Revoked.IsZero() || !strings.Contains(h.Ends(), "no receipt yet") {
			t.Errorf("a revoked site has %+v", h)
		}
	}
}
