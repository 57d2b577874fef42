package topology

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/keyorch/keyorch/fault"
)

// envelope is the document around every object, on its way out.
type envelope struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       any      `json:"spec"`
}

type metadata struct {
	Name   string `json:"name"`
	Labels Labels `json:"labels,omitempty"`
}

type siteSpec struct {
	Description string `json:"description,omitempty"`
}

type nodeSpec struct {
	Site   string         `json:"site"`
	Device map[string]any `json:"device"`
}

type linkSpec struct {
	Upstream   []string `json:"upstream"`
	Downstream []string `json:"downstream"`
	Policy     string   `json:"policy,omitempty"`
}

func envelop(kind, name string, labels Labels, spec any) envelope {
	return envelope{APIVersion: APIVersion, Kind: kind, Metadata: metadata{Name: name, Labels: labels}, Spec: spec}
}

func (s Site) envelope() envelope {
	return envelop(KindSite, string(s.Name), s.Labels, siteSpec{Description: s.Description})
}

func (n Node) envelope() envelope {
	device := maps.Clone(n.Device.Params)
	if device == nil {
		device = map[string]any{}
	}
	device["kind"] = n.Device.Kind
	return envelop(KindNode, string(n.Name), n.Labels, nodeSpec{Site: string(n.Site), Device: device})
}

func (l Link) envelope() envelope {
	return envelop(KindLink, string(l.Name), l.Labels,
		linkSpec{Upstream: names(l.Upstream), Downstream: names(l.Downstream), Policy: l.Policy})
}

func (p Policy) envelope() envelope {
	return envelop(KindPolicy, p.Name, p.Labels, p.spec())
}

func (w Webhook) envelope() envelope {
	return envelop(KindWebhook, w.Name, w.Labels, w.spec())
}

func names[N ~string](list []N) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = string(n)
	}
	return out
}

// plain is the document as Parse sees it.
func (e envelope) plain() (any, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return plainJSON(b)
}

// MarshalJSON writes the site as a document in the Kubernetes shape. Equal
// objects give equal bytes, here and below.
func (s Site) MarshalJSON() ([]byte, error) { return json.Marshal(s.envelope()) }

// MarshalJSON writes the node as a document in the Kubernetes shape.
func (n Node) MarshalJSON() ([]byte, error) { return json.Marshal(n.envelope()) }

// MarshalJSON writes the link as a document in the Kubernetes shape.
func (l Link) MarshalJSON() ([]byte, error) { return json.Marshal(l.envelope()) }

// MarshalJSON writes the policy as a document in the Kubernetes shape.
func (p Policy) MarshalJSON() ([]byte, error) { return json.Marshal(p.envelope()) }

// MarshalJSON writes the webhook as a document in the Kubernetes shape.
func (w Webhook) MarshalJSON() ([]byte, error) { return json.Marshal(w.envelope()) }

// UnmarshalJSON reads what MarshalJSON wrote, as strictly as Parse; what it
// refers to is not checked. The error is of kind Invalid, here and below.
func (s *Site) UnmarshalJSON(b []byte) error { return unmarshal(b, KindSite, s) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Node) UnmarshalJSON(b []byte) error { return unmarshal(b, KindNode, n) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Link) UnmarshalJSON(b []byte) error { return unmarshal(b, KindLink, l) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Policy) UnmarshalJSON(b []byte) error { return unmarshal(b, KindPolicy, p) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (w *Webhook) UnmarshalJSON(b []byte) error { return unmarshal(b, KindWebhook, w) }

func unmarshal[T any](b []byte, kind string, into *T) error {
	value, err := plainJSON(b)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "read %s", kind)
	}
	d, problems := newDocument(document{value: value}, nil)
	if err := problems.fault(); err != nil {
		return err
	}
	object, ok := d.object.(T)
	if !ok {
		return fault.New(fault.Invalid, "read %s: the document declares %s", kind, d)
	}
	*into = object
	return nil
}

// plainJSON reads one JSON document into plain values. Unlike json.Unmarshal it
// refuses a field that is there twice.
func plainJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return plainValue(dec, 0)
}

func plainValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("the document is nested deeper than %d levels", maxDepth)
	}
	switch token := token.(type) {
	case json.Number:
		n, ok := parseNumber(token.String())
		if !ok {
			return nil, fmt.Errorf("the number %s cannot be kept", token)
		}
		return n, nil
	case json.Delim:
		if token == '[' {
			list := []any{}
			for dec.More() {
				v, err := plainValue(dec, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := dec.Token()
			return list, err
		}
		return plainObject(dec, depth)
	}
	return token, nil
}

func plainObject(dec *json.Decoder, depth int) (any, error) {
	m := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("the field %q is there twice", key)
		}
		if m[key], err = plainValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return m, err
}
