package e2e_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

var update = flag.Bool("update", false, "write docs/holds.md anew")

// holdsFile is the page that TestReadThreeHolds keeps true.
const holdsFile = "../docs/holds.md"

// spokes are links from oslo to each of some sites, each with a policy of the
// site's name.
func spokes(sites ...string) string {
	var b strings.Builder
	node := func(site string) {
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Site\nmetadata: {name: %s}\n", site)
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Node\nmetadata: {name: %s-1}\nspec: {site: %s, device: {kind: sim, network: \"$SIM\"}}\n", site, site)
	}
	node("oslo")
	for _, s := range sites {
		node(s)
		b.WriteString(policyOf(s, ""))
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Link\nmetadata: {name: oslo-%s, labels: {to: %s}}\n", s, s)
		fmt.Fprintf(&b, "spec: {upstream: [oslo-1], downstream: [%s-1], policy: %s}\n", s, s)
	}
	return b.String()
}

func policyOf(site, more string) string {
	return fmt.Sprintf("---\napiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: %s}\nspec: {drain: 300ms%s}\n", site, more)
}

// closedNow is a window that is not open before the day after tomorrow.
func closedNow() string {
	day := strings.ToLower(time.Now().UTC().AddDate(0, 0, 3).Format("Mon"))
	return fmt.Sprintf(", windows: [{days: [%s], from: \"02:00\", to: \"04:00\"}]", day)
}

func TestReadThreeHolds(t *testing.T) {
	w := newWorld(t)
	w.declare(spokes("bern", "paris", "rome", "wien"))
	w.staff()
	w.rotate(0, "--all")
	w.traffic()
	w.agents["paris"].Kill()
	w.agents["wien"].Kill()
	w.until("nobody serves paris and wien", func() bool { return len(w.view.Present([]keychain.NodeID{"paris-1", "wien-1"})) == 0 })
	w.Lab.Network.Node("rome-1").Refuse(true)
	r := w.rotate(4, "--all", "--timeout", "3s", "--reason", "a test")
	w.declare(policyOf("wien", closedNow()))
	w.startAgent("wien")
	w.until("wien-1 accepts epoch 2", func() bool {
		for _, o := range w.view.Reports("oslo-wien") {
			if o.Node == "wien-1" && !o.Accepted(2).IsZero() {
				return true
			}
		}
		return false
	})
	dead, refuses, closed := w.keyorch(0, "why", "oslo-paris").Out, w.keyorch(0, "why", "oslo-rome").Out, w.keyorch(0, "why", "oslo-wien").Out
	for _, c := range []struct{ why, want string }{
		{dead, "no agent serves it"}, {refuses, "oslo-rome is Staging on its way from epoch 1 to 2: rome-1 refused"}, {closed, "inside-window"},
	} {
		if !strings.Contains(c.why, c.want) {
			t.Errorf("%q is not in\n%s", c.want, c.why)
		}
	}
	keepTrue(t, dead, refuses, closed, w.keyorch(0, "status").Out)
	w.readsEverything(r.Campaign)

	w.Lab.Network.Node("rome-1").Refuse(false)
	w.agents["rome"].Terminate()
	w.startAgent("rome")
	w.declare(policyOf("wien", ""))
	w.startAgent("paris")
	for _, l := range w.topo.Links {
		w.settled(l.Name, 2)
	}
	w.readsThePast(r.Campaign)
	w.noLoss()
}

// readsEverything has the verbs answer while a campaign has held links.
func (w *world) readsEverything(campaign string) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"why", campaign}, 0, "1 link in flight: rome-1 refused"},
		{[]string{"why", "campaign/" + campaign, "-o", "json"}, 0, `"inFlight": 3`},
		{[]string{"why", "paris-1"}, 0, "no agent serves it"},
		{[]string{"why", "site/paris", "-o", "yaml"}, 0, "oslo-paris"},
		{[]string{"why", "no-such-thing"}, 2, "no link, campaign, node or site"},
		{[]string{"why", "node/oslo"}, 2, "keyorch get nodes"},
		{[]string{"status", "-l", "to=rome"}, 0, "rome-1 refused"},
		{[]string{"status", "--site", "paris", "-o", "json"}, 0, `"keyAge"`},
		{[]string{"status", "-l", "to=nobody"}, 2, "to=nobody"},
		{[]string{"history"}, 0, campaign},
		{[]string{"history", "--limit", "1", "-o", "json"}, 0, `"inFlight"`},
		{[]string{"history", campaign}, 0, "rome-1 refused"},
		{[]string{"history", "rome-1"}, 2, "only links and campaigns"},
		{[]string{"drift"}, 0, "links: every node is"},
		{[]string{"get", "campaigns"}, 0, campaign},
		{[]string{"get", "links", "-l", "to in (rome, wien)", "--show-labels"}, 0, "to=rome"},
		{[]string{"get", "agents", "-l", "a=b"}, 2, "labels"},
		{[]string{"get", "policies"}, 0, "02:00-04:00 (UTC)"},
		{[]string{"get", "maintenance"}, 0, "UNTIL"},
		{[]string{"get", "exclusions", "-o", "yaml"}, 0, "items: []"},
	} {
		said := w.Run(w.t.Context(), nil, c.args...)
		if said.Code != c.code || !strings.Contains(said.Out+said.Err, c.want) {
			w.t.Errorf("keyorch %s: exit %d, want %d and %q:\n%s%s", strings.Join(c.args, " "), said.Code, c.code, c.want, said.Out, said.Err)
		}
	}
}

// readsThePast looks at what a campaign did when its last links have ended.
func (w *world) readsThePast(campaign string) {
	var past struct {
		Last, Completed link.Attempt
		Entries         []link.Entry
	}
	if err := json.Unmarshal([]byte(w.keyorch(0, "history", "oslo-rome", "-o", "json").Out), &past); err != nil {
		w.t.Fatal(err)
	}
	confirmed := map[link.Phase]string{} // who ended the phase
	for i, e := range past.Entries {
		for _, c := range e.Confirmed {
			confirmed[past.Entries[i-1].Phase] += fmt.Sprintf("%s %d ", c.Node, c.Key.Epoch)
		}
	}
	if past.Completed.Campaign != campaign || past.Completed.Epoch != 2 || past.Last.Outcome != link.Rotated {
		w.t.Errorf("the last attempt is %+v, and the last that completed %+v", past.Last, past.Completed)
	}
	for phase, want := range map[link.Phase]string{link.Staging: "rome-1 1 rome-1 2 ", link.Switching: "oslo-1 1 oslo-1 2 ", link.Retiring: "rome-1 2 "} {
		if confirmed[phase] != want {
			w.t.Errorf("%v was confirmed by %q, not by %q, in %+v", phase, confirmed[phase], want, past.Entries)
		}
	}
}

// keepTrue compares the outputs with the page that shows them.
func keepTrue(t *testing.T, dead, refuses, closed, status string) {
	t.Helper()
	page := fmt.Sprintf(holds, tame(dead), tame(refuses), tame(closed), tame(status))
	if *update {
		if err := os.WriteFile(holdsFile, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	has, err := os.ReadFile(holdsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(has) != page {
		t.Errorf("%s is not what is printed now (rewrite it with -update, and read the diff):\n%s", holdsFile, page)
	}
}

// tame puts the same text in the place of what differs from run to run: moments,
// ages, names of campaigns and workflows, KCVs and days.
func tame(text string) string {
	for _, r := range []struct{ what, by string }{
		{`\d{4}-\d\d-\d\dT[0-9:.]+Z`, "2026-04-14T02:00:00Z"},
		{`rotate-\d{8}-\d{6}-[0-9a-f]{6}`, "rotate-20260412-060000-a1b2c3"},
		{`\b[0-9a-f]{10}\b`, "a1b2c3d4e5"},
		{`\b\d+s\b`, "12s"},
		{`\b(mon|tue|wed|thu|fri|sat|sun) 02:00`, "tue 02:00"},
	} {
		text = regexp.MustCompile(r.what).ReplaceAllString(text, r.by)
	}
	if !strings.Contains(text, "LINK  ") {
		return text
	}
	var b bytes.Buffer // the columns of a table may be narrower or wider now
	columns := tabwriter.NewWriter(&b, 0, 4, 3, ' ', 0)
	_, _ = columns.Write(regexp.MustCompile(` {3,}`).ReplaceAll([]byte(text), []byte("\t")))
	_ = columns.Flush()
	return b.String()
}
