package topology

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/keyorch/keyorch/fault"
)

// Encode writes t as YAML documents that Parse reads back to the same: sites,
// nodes, links, policies, webhooks, rules of approvals. It writes nothing for an empty Topology.
//
// The error is of kind Invalid when a device's parameter is no plain value, and
// otherwise that of w.
func Encode(w io.Writer, t Topology) error {
	documents := t.envelopes()
	if len(documents) == 0 {
		return nil
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	for _, d := range documents {
		value, err := d.plain()
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "write %s %s", d.Kind, d.Metadata.Name)
		}
		if err := enc.Encode(yamlNode(value)); err != nil {
			return fmt.Errorf("write %s %s: %w", d.Kind, d.Metadata.Name, err)
		}
	}
	return enc.Close()
}

// envelopes are the documents of t.
func (t Topology) envelopes() []envelope {
	var out []envelope
	for _, s := range t.Sites {
		out = append(out, s.envelope())
	}
	for _, n := range t.Nodes {
		out = append(out, n.envelope())
	}
	for _, l := range t.Links {
		out = append(out, l.envelope())
	}
	for _, p := range t.Policies {
		out = append(out, p.envelope())
	}
	for _, w := range t.Webhooks {
		out = append(out, w.envelope())
	}
	for _, r := range t.ApprovalRules {
		out = append(out, r.envelope())
	}
	return out
}

// yamlNode writes a plain value. The styles are chosen here, because the
// library's own choice for texts with tabs or leading blanks, and for the key
// "<<", does not come back as what it was.
func yamlNode(v any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	switch v := v.(type) {
	case nil:
		n.Tag, n.Value = "!!null", "null"
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(v)
	case int64:
		n.Tag, n.Value = "!!int", strconv.FormatInt(v, 10)
	case float64:
		n.Tag, n.Value = "!!float", strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		n.Tag, n.Value, n.Style = "!!str", v, styleOf(v)
	case []any:
		n.Kind = yaml.SequenceNode
		n.Style = yaml.FlowStyle
		width := 0
		for _, item := range v {
			in := yamlNode(item)
			n.Content = append(n.Content, in)
			if width += 2 + len(in.Value); in.Kind != yaml.ScalarNode || width > 70 {
				n.Style = 0
			}
		}
	case map[string]any:
		n.Kind = yaml.MappingNode
		for _, k := range slices.SortedFunc(maps.Keys(v), byRank) {
			n.Content = append(n.Content, yamlNode(k), yamlNode(v[k]))
		}
	}
	return n
}

// byRank sorts the fields of a document as people write them; what has no rank
// comes last, by name.
func byRank(a, b string) int {
	rank := func(s string) int {
		if i := slices.Index([]string{"apiVersion", "kind", "metadata", "name", "labels", "spec", "site", "device",
			"upstream", "downstream", "policy",
			"drain", "quiet", "waves", "budget", "wait", "tail", "keyAge", "timeZone", "windows", "freezes", "quorum", "schedule",
			"campaign", "wave", "onSpent", "links", "percent", "selector", "soak", "max", "warn", "days", "from", "to", "reason",
			"cron", "jitter", "format", "url", "urlFile", "secretFile", "caFile", "events", "severity", "giveUp", "disabled",
			"verbs", "approvals", "approvers", "keys", "touch", "pin", "deadline", "remindAfter", "escalateAfter"}, s); i >= 0 {
			return i
		}
		return 100
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// otherReaders matches what readers of YAML 1.1 take for a truth value, for a
// sign with a meaning, or for a number to the base of sixty.
var otherReaders = regexp.MustCompile(`^(?i:y|yes|on|n|no|off|<<|=)$|^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`)

func styleOf(s string) yaml.Style {
	switch {
	case strings.Contains(s, "\n") && readable(s):
		return yaml.LiteralStyle
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }), otherReaders.MatchString(s):
		return yaml.DoubleQuotedStyle
	}
	return 0
}

// readable reports whether s is lines of plain text, as a script is: nothing in
// it depends on blanks at the edges or on what cannot be seen.
func readable(s string) bool {
	for i, line := range strings.Split(strings.TrimSuffix(s, "\n"), "\n") {
		if i == 0 && (line == "" || line[0] == ' ') || line != strings.TrimRight(line, " ") ||
			strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return false
		}
	}
	return !strings.HasSuffix(s, "\n\n")
}
