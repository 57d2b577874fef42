package topology

import (
	"bytes"
	_ "embed"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed schema.json
var schemaText []byte

// Schema is the JSON schema (draft 2020-12) of one document, for editors and
// for checks before keyorch is at hand. Parse uses the same one.
func Schema() []byte { return bytes.Clone(schemaText) }

// shape is the schema, compiled, and as the plain values from which the fields
// that it allows can be looked up.
type shape struct {
	compiled *jsonschema.Schema
	root     map[string]any
}

// theShape is made when the first document is read: most programs that import
// this package never read one.
var theShape = sync.OnceValue(func() shape {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
	if err != nil {
		panic("topology: schema.json is not JSON: " + err.Error())
	}
	root := doc.(map[string]any)
	id := root["$id"].(string)
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // nothing is fetched, from anywhere
	if err := c.AddResource(id, doc); err != nil {
		panic("topology: add schema.json: " + err.Error())
	}
	compiled, err := c.Compile(id)
	if err != nil {
		panic("topology: compile schema.json: " + err.Error())
	}
	return shape{compiled: compiled, root: root}
})

// check gives everything about a document that the schema refuses.
func (s shape) check(document any) []finding {
	err := s.compiled.Validate(document)
	if err == nil {
		return nil
	}
	var broken *jsonschema.ValidationError
	if !errors.As(err, &broken) {
		return []finding{{message: err.Error()}}
	}
	var found []finding
	for _, leaf := range leaves(broken) {
		at, value := locate(document, leaf.InstanceLocation)
		for _, f := range s.reword(leaf, at, value) {
			same := func(o finding) bool { return o.at.String() == f.at.String() && o.message == f.message }
			if !slices.ContainsFunc(found, same) {
				found = append(found, f)
			}
		}
	}
	found = slices.DeleteFunc(found, func(f finding) bool {
		meant := func(o finding) bool { return o.instead.String() == f.at.String() }
		return f.message == missing && slices.ContainsFunc(found, meant)
	})
	slices.SortStableFunc(found, func(a, b finding) int { return strings.Compare(a.at.String(), b.at.String()) })
	return found
}

// leaves are the errors that say something themselves, not through others.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var out []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		out = append(out, leaves(cause)...)
	}
	return out
}

// locate follows the steps of an instance location into document.
func locate(document any, steps []string) (path, any) {
	at, now := make(path, 0, len(steps)), document
	for _, step := range steps {
		switch v := now.(type) {
		case []any:
			i, _ := strconv.Atoi(step)
			at, now = append(at, i), v[i]
		case map[string]any:
			at, now = append(at, step), v[step]
		}
	}
	return at, now
}

// definition is the last step of a schema location: the name under $defs, when
// it stands there.
func definition(schemaURL string) string {
	if _, name, ok := strings.Cut(schemaURL, "#/$defs/"); ok {
		return name
	}
	return ""
}

// fields are the fields that an object of the definition named may have, sorted;
// without a name, those of a whole document.
func (s shape) fields(name string) []string {
	def := s.root
	if name != "" {
		def, _ = s.root["$defs"].(map[string]any)[name].(map[string]any)
	}
	properties, _ := def["properties"].(map[string]any)
	var out []string
	for f := range properties {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// specOf is the name of the definition of a kind's spec.
func specOf(kind string) string { return strings.ToLower(kind) + "Spec" }
