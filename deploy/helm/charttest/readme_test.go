package charttest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The table of values stands between these lines of the README.
const (
	tableBegins = "<!-- Generated from values.yaml by make generate. -->\n"
	tableEnds   = "<!-- End of what is generated. -->\n"
)

// TestReadmeListsTheValues keeps the README's table what values.yaml says.
func TestReadmeListsTheValues(t *testing.T) {
	file := chartDir + "/README.md"
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := bytes.Cut(readme, []byte(tableBegins))
	_, after, ends := bytes.Cut(rest, []byte(tableEnds))
	if !begins || !ends {
		t.Fatalf("%s has no place for the table", file)
	}
	doc, err := os.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := valuesTable(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Appendf(nil, "%s%s%s%s%s", before, tableBegins, table, tableEnds, after)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(readme, want) {
		t.Errorf("%s is not what values.yaml says: run make generate", file)
	}
}

// TestEveryValueIsExplained, but those that are Kubernetes' own or stand under
// something that is.
func TestEveryValueIsExplained(t *testing.T) {
	table, err := valuesTable([]byte("a:\n  # Told.\n  b: 1\n  c: []\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\n| value | default | |\n| --- | --- | --- |\n| `a.b` | `1` | Told. |\n| `a.c` | `[]` |  |\n\n"; table != want {
		t.Errorf("the table is %q, want %q", table, want)
	}
}

// valuesTable makes a row of every value, with the comment above it.
func valuesTable(doc []byte) (string, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(doc, &root); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("\n| value | default | |\n| --- | --- | --- |\n")
	err := rows(&b, "", root.Content[0])
	b.WriteString("\n")
	return b.String(), err
}

func rows(b *strings.Builder, prefix string, m *yaml.Node) error {
	for i := 0; i < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		name := prefix + key.Value
		told := explained(key.HeadComment)
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && !strings.HasSuffix(name, "resources") {
			if told != "" {
				fmt.Fprintf(b, "| `%s` | | %s |\n", name, told)
			}
			if err := rows(b, name+".", value); err != nil {
				return err
			}
			continue
		}
		bare := *value
		bare.Style |= yaml.FlowStyle
		bare.HeadComment, bare.FootComment, bare.LineComment = "", "", ""
		text, err := yaml.Marshal(&bare)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", name, strings.TrimSpace(string(text)), told)
	}
	return nil
}

// explained is a comment's last paragraph as one line.
func explained(comment string) string {
	paragraphs := strings.Split(comment, "\n\n")
	var words []string
	for line := range strings.SplitSeq(paragraphs[len(paragraphs)-1], "\n") {
		words = append(words, strings.TrimSpace(strings.TrimPrefix(line, "#")))
	}
	return strings.ReplaceAll(strings.Join(words, " "), "|", "\\|")
}
