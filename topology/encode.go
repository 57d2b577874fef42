package topology

import (
	"io"
	"maps"

	"go.yaml.in/yaml/v3"

	"github.com/keyorch/keyorch/fault"
)

// Encode writes t as YAML documents that Parse reads back to the same: sites,
// nodes, links, policies. It writes nothing for an empty Topology.
//
// The error is of kind Invalid when a device's parameter cannot be written as
// YAML, and otherwise that of w.
func Encode(w io.Writer, t Topology) error {
	documents := t.envelopes()
	if len(documents) == 0 {
		return nil
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	for _, d := range documents {
		if err := enc.Encode(d); err != nil {
			return fault.Wrap(fault.Invalid, err, "write %s %s", d.Kind, d.Metadata.Name)
		}
	}
	return enc.Close()
}

// MarshalYAML writes a node's device with its kind first.
func (s nodeSpec) MarshalYAML() (any, error) {
	params := maps.Clone(s.Device)
	kind, _ := params["kind"].(string)
	delete(params, "kind")
	type kindFirst struct {
		Kind   string         `yaml:"kind"`
		Params map[string]any `yaml:",inline"`
	}
	return struct {
		Site   string    `yaml:"site"`
		Device kindFirst `yaml:"device"`
	}{s.Site, kindFirst{kind, params}}, nil
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
	return out
}
