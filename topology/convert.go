package topology

import (
	"fmt"
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

const (
	// maxDepth is how deep a document may be nested.
	maxDepth = 64
	// maxValues is how many values a document may have once its aliases are
	// written out, so that a few lines of aliases cannot fill the memory.
	maxValues = 1 << 20
)

// conversion turns the nodes of one YAML document into plain values, as JSON
// has them: nil, bool, int64, float64, string, []any and map[string]any.
type conversion struct {
	found  []finding
	open   map[*yaml.Node]bool // values with an anchor that are being converted
	values int
}

// finding is something wrong at one place of one document. A line of zero is
// that of the path.
type finding struct {
	at      path
	line    int
	message string
	hint    string
	// instead is the field that was meant by an unknown one. That it is missing is
	// not worth a second finding.
	instead path
}

func (c *conversion) refuse(n *yaml.Node, at path, message, hint string) any {
	c.found = append(c.found, finding{at: at, line: n.Line, message: message, hint: hint})
	return nil
}

// value converts n. What cannot be converted becomes nil and a finding.
func (c *conversion) value(n *yaml.Node, at path) any {
	c.values++
	switch {
	case c.values == maxValues+1:
		return c.refuse(n, at, fmt.Sprintf("the document has more than %d values", maxValues), "split it into several documents")
	case c.values > maxValues:
		return nil
	case len(at) > maxDepth:
		return c.refuse(n, at[:1], fmt.Sprintf("the document is nested deeper than %d levels", maxDepth), "flatten it")
	}
	if n.Anchor != "" {
		if c.open == nil {
			c.open = map[*yaml.Node]bool{}
		}
		c.open[n] = true
		defer delete(c.open, n)
	}
	switch n.Kind {
	case yaml.AliasNode:
		if c.open[n.Alias] {
			return c.refuse(n, at, fmt.Sprintf("*%s stands inside the value that it names", n.Value), "write the value out")
		}
		return c.value(n.Alias, at)
	case yaml.MappingNode:
		if n.ShortTag() == "!!map" {
			return c.mapping(n, at)
		}
	case yaml.SequenceNode:
		if n.ShortTag() == "!!seq" {
			list := make([]any, len(n.Content))
			for i, item := range n.Content {
				list[i] = c.value(item, at.with(i))
			}
			return list
		}
	case yaml.ScalarNode:
		return c.scalar(n, at)
	}
	return c.refuse(n, at, fmt.Sprintf("the tag %s is not known here", n.ShortTag()), "take it out")
}

func (c *conversion) mapping(n *yaml.Node, at path) any {
	m := make(map[string]any, len(n.Content)/2)
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch tag := k.ShortTag(); {
		case tag == "!!merge":
			c.refuse(k, at, "merge keys (<<) are not known here", "write the fields out")
			continue
		case k.Kind != yaml.ScalarNode:
			c.refuse(n.Content[i], at, "a field name must be text, not a list or a mapping", "if it stands for a template, fill it in first")
			continue
		case tag != "!!str" && tag != "!!timestamp":
			c.refuse(n.Content[i], at, fmt.Sprintf("the field name %s is not text", k.Value), fmt.Sprintf("put it in quotes: %q", k.Value))
			continue
		}
		if first, twice := lines[k.Value]; twice {
			c.refuse(n.Content[i], at.with(k.Value), fmt.Sprintf("the field is there twice, first on line %d", first), "remove one of the two")
			continue
		}
		lines[k.Value] = n.Content[i].Line
		m[k.Value] = c.value(v, at.with(k.Value))
	}
	return m
}

func (c *conversion) scalar(n *yaml.Node, at path) any {
	switch n.ShortTag() {
	case "!!str", "!!timestamp": // a date is the text that it was written as
		return n.Value
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			return c.refuse(n, at, fmt.Sprintf("%q cannot be read as %s", n.Value, n.ShortTag()), "take the tag out")
		}
		if v, ok := number(v); ok && !rounded(n) {
			return v
		}
		return c.refuse(n, at, fmt.Sprintf("the number %s cannot be kept exactly", n.Value), fmt.Sprintf("put it in quotes: %q", n.Value))
	}
	return c.refuse(n, at, fmt.Sprintf("the tag %s is not known here", n.ShortTag()), "take it out")
}

// rounded reports whether n was written as a whole number and read as a float,
// which has lost its last digits.
func rounded(n *yaml.Node) bool {
	return n.ShortTag() == "!!float" && wholeNumber.MatchString(n.Value)
}

var wholeNumber = regexp.MustCompile(`^[-+]?[0-9_]+$`)

// number brings a bool or a number into the one form that it has in a Topology,
// whether it came from YAML or from JSON: int64 when it is whole and fits,
// float64 otherwise. What JSON cannot write is refused.
func number(v any) (any, bool) {
	switch v := v.(type) {
	case bool, int64:
		return v, true
	case int:
		return int64(v), true
	case uint64:
		return nil, false
	case float64:
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			return nil, false
		case v == math.Trunc(v) && v >= math.MinInt64 && v < math.MaxInt64:
			return int64(v), true
		}
		return v, true
	}
	return nil, false
}

// lineOf is the line of the field at p in the document n, or of what is nearest
// above it.
func lineOf(n *yaml.Node, p path) int {
	if n == nil {
		return 0
	}
	line := n.Line
	for _, step := range p {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next := -1
		switch step := step.(type) {
		case int:
			if n.Kind == yaml.SequenceNode && step < len(n.Content) {
				next = step
				line = n.Content[step].Line
			}
		case string:
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content) && next < 0; i += 2 {
				if n.Content[i].Value == step {
					next = i + 1
					line = n.Content[i].Line
				}
			}
		}
		if next < 0 {
			return line
		}
		n = n.Content[next]
	}
	return line
}

// parseNumber reads a number of a JSON document.
func parseNumber(s string) (any, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, false
	}
	return number(f)
}
