package charttest

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// reference is the metrics that docs/metrics.md lists, with the values that each
// label can have. Docs/metrics.md is generated from what is registered.
func reference(t *testing.T) map[string]map[string][]string {
	t.Helper()
	doc, err := os.ReadFile(product + "/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(keyorch_[a-z_]+)` \\| (\\w+) \\| (.*?) \\| ").FindAllStringSubmatch(string(doc), -1) {
		has := map[string][]string{}
		for _, l := range regexp.MustCompile("`(\\w+)`: ([^;]*)").FindAllStringSubmatch(row[3], -1) {
			for _, v := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(l[2], -1) {
				has[l[1]] = append(has[l[1]], v[1])
			}
		}
		names := []string{row[1]}
		if row[2] == "histogram" {
			names = []string{row[1] + "_bucket", row[1] + "_count", row[1] + "_sum"}
		}
		for _, n := range names {
			all[n] = has
		}
	}
	if len(all) < 20 || !slices.Contains(all["keyorch_links"]["phase"], "Steady") {
		t.Fatalf("the table of %s is not understood any more: %v", "docs/metrics.md", all)
	}
	return all
}

// unknown lists what is wrong with an expression: it does not parse, or asks for
// what nobody has.
func unknown(expr string, has map[string]map[string][]string) []string {
	tree, err := parser.ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok || strings.HasPrefix(v.Name, "process_") || strings.HasPrefix(v.Name, "temporal_") {
			return nil
		}
		known, ok := has[v.Name]
		if !ok {
			wrong = append(wrong, "there is no metric "+v.Name)
			return nil
		}
		for _, m := range v.LabelMatchers {
			if m.Name == labels.MetricName {
				continue
			}
			for _, value := range strings.Split(m.Value, "|") {
				if !slices.Contains(known[m.Name], value) {
					wrong = append(wrong, v.Name+" never has "+m.Name+"="+value)
				}
			}
		}
		return nil
	})
	return wrong
}

func TestAlertsAskForWhatIsThere(t *testing.T) {
	has := reference(t)
	rules := mustParse(t, "full").rules[0].Spec.Groups[0].Rules
	if len(rules) < 8 {
		t.Errorf("%d alerts", len(rules))
	}
	for _, r := range rules {
		if r.Alert == "" || r.For == "" || r.Labels["severity"] == "" {
			t.Errorf("%+v is not whole", r)
		}
		for _, wrong := range unknown(r.Expr, has) {
			t.Errorf("%s: %s", r.Alert, wrong)
		}
		if strings.Contains(r.Expr, "HELD") || strings.Contains(r.Annotations["summary"], "HELD") {
			t.Errorf("%s has no time in it", r.Alert)
		}
	}
	for expr, want := range map[string]string{
		`max(keyorch_links_held`:                  "parse error",
		`keyorch_link_held > 0`:                   "there is no metric keyorch_link_held",
		`keyorch_campaigns{state="sleeping"} > 0`: "keyorch_campaigns never has state=sleeping",
	} {
		if got := strings.Join(unknown(expr, has), "; "); !strings.Contains(got, want) {
			t.Errorf("%s: found %q, want %q", expr, got, want)
		}
	}
}

// TestAlertsOfTheReferenceAreThere: what docs/metrics.md advises, the chart has.
func TestAlertsOfTheReferenceAreThere(t *testing.T) {
	doc, err := os.ReadFile(product + "/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "## Alerts to begin with")
	rows := regexp.MustCompile("(?m)^\\| [^|]+ \\| `([^`]+)`").FindAllStringSubmatch(table, -1)
	if len(rows) == 0 {
		t.Fatal("no alerts are advised")
	}
	vals := values(t, "full")
	vals["metrics"].(map[string]any)["rules"].(map[string]any)["heldLonger"] = "1d"
	texts, err := render(vals, false)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parse(manifest(texts))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if !slices.ContainsFunc(o.rules[0].Spec.Groups[0].Rules, func(r alert) bool { return r.Expr == row[1] }) {
			t.Errorf("the chart does not have %s", row[1])
		}
	}
}

// namesCommands: every alert says which verbs to run, and the program has them.
func namesCommands(t *testing.T, program string) {
	for _, r := range mustParse(t, "full").rules[0].Spec.Groups[0].Rules {
		commands := strings.Split(r.Annotations["command"], "; ")
		for _, command := range commands {
			words := strings.Fields(command)
			if words[0] != "keyorch" {
				t.Errorf("%s: %q is no command of keyorch", r.Alert, command)
				continue
			}
			args := slices.DeleteFunc(words[1:], func(w string) bool { return strings.ToUpper(w) == w })
			said := complaint(t.Context(), t, program, append(args, "--planted"))
			if !strings.Contains(said, "unknown flag: --planted") {
				t.Errorf("%s: %s: %s", r.Alert, command, said)
			}
		}
	}
}

func TestTheDashboardAsksForWhatIsThere(t *testing.T) {
	has := reference(t)
	var found int
	for _, c := range mustParse(t, "full").configMaps {
		doc, ok := c.Data["keyorch.json"]
		if !ok {
			continue
		}
		found++
		var board struct {
			UID    string
			Panels []struct {
				ID      int
				Title   string
				GridPos struct{ X, Y, W, H int }
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal([]byte(doc), &board); err != nil {
			t.Fatal(err)
		}
		ids := map[int]bool{}
		for _, p := range board.Panels {
			if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("panel %d %q is not whole", p.ID, p.Title)
			}
			ids[p.ID] = true
			for _, target := range p.Targets {
				for _, wrong := range unknown(target.Expr, has) {
					t.Errorf("%s: %s", p.Title, wrong)
				}
			}
		}
		if board.UID != "keyorch" || len(board.Panels) < 10 {
			t.Errorf("the dashboard %s has %d panels", board.UID, len(board.Panels))
		}
	}
	if found != 1 {
		t.Errorf("%d dashboards", found)
	}
}
