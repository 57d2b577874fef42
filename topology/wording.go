package topology

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/keyorch/keyorch/keychain"
)

// reword says in plain words what the schema refused at one place.
func (s shape) reword(e *jsonschema.ValidationError, at path, value any) []finding {
	def := definition(e.SchemaURL)
	var found []finding
	say := func(at path, message, hint string) {
		found = append(found, finding{at: at, message: message, hint: hint})
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			found = append(found, s.unknownField(def, at, name))
		}
	case *kind.Required:
		for _, name := range k.Missing {
			say(at.with(name), missing, missingHint[at.with(name).String()])
		}
	case *kind.Type:
		message, hint := wrongType(k, at, value)
		say(at, message, hint)
	case *kind.Const:
		say(at, fmt.Sprintf("%s is not a version of this format", show(value)), fmt.Sprintf("write %s", APIVersion))
	case *kind.Enum:
		word, _ := value.(string)
		say(at, fmt.Sprintf("there is no kind %s", show(value)), kindHint(word, kindNames))
	case *kind.MinItems:
		say(at, "the list is empty", sideHint(at))
	case *kind.UniqueItems:
		found = append(found, repeated(at, value)...)
	default:
		message, hint := refusedText(def, value)
		if message == "" {
			message = "does not fit the schema: " + strings.Join(e.ErrorKind.KeywordPath(), "/")
		}
		say(at, message, hint)
	}
	return found
}

const missing = "the field is missing"

var missingHint = map[string]string{
	"apiVersion":       "write apiVersion: " + APIVersion,
	"kind":             "write Site, Node, Link or Policy",
	"metadata":         "write metadata: {name: …}",
	"metadata.name":    "give the object a name",
	"spec":             "say what is declared",
	"spec.site":        "name the site where the node stands",
	"spec.device":      "say what drives the node, as in device: {kind: exec, …}",
	"spec.device.kind": "say which kind of device it is",
	"spec.upstream":    "list the nodes that send",
	"spec.downstream":  "list the nodes that accept",
}

// unknownField explains a field that the definition does not have.
func (s shape) unknownField(def string, at path, name string) finding {
	f := finding{at: at.with(name), message: fmt.Sprintf("unknown field %q", name)}
	if def == "labels" {
		f.message, f.hint = fmt.Sprintf("%q is not a label", name),
			"use letters, digits, '-', '_' and '.', at most 63, with a letter or digit at both ends"
		return f
	}
	allowed := s.fields(def)
	if near := nearest(name, allowed); near != "" {
		f.hint, f.instead = fmt.Sprintf("did you mean %q?", near), at.with(near)
		return f
	}
	if home := s.homeOf(name); home != "" && !(len(at) > 0 && at[0] == home) {
		f.hint, f.instead = "it belongs under "+home, path{home, name}
		return f
	}
	f.hint = "the fields here are " + list(allowed)
	if len(allowed) == 1 {
		f.hint = "the only field here is " + allowed[0]
	}
	return f
}

// homeOf says where a field belongs that stands in the wrong place: spec or
// metadata, or empty.
func (s shape) homeOf(name string) string {
	for _, k := range kindNames {
		if slices.Contains(s.fields(specOf(k)), name) {
			return "spec"
		}
	}
	if slices.Contains(s.fields("metadata"), name) {
		return "metadata"
	}
	return ""
}

func wrongType(k *kind.Type, at path, value any) (message, hint string) {
	names := map[string]string{"null": "empty", "boolean": "true or false", "number": "a number", "string": "text",
		"array": "a list", "object": "a mapping"}
	want := strings.Join(k.Want, " or ")
	message = fmt.Sprintf("must be %s, is %s", names[want], names[k.Got])
	switch {
	case want == "string" && len(at) > 0 && at[len(at)-1] == "drain":
		hint = "write a time with its unit, as in 5s"
	case k.Got == "null":
		hint = "write a value, or take the field out"
	case want == "string" && (k.Got == "number" || k.Got == "boolean"):
		hint = "put it in quotes"
	case want == "array" && k.Got == "string":
		hint = fmt.Sprintf("write it as a list: [%v]", value)
	case want == "object" && len(at) == 0:
		hint = "a document begins with apiVersion, kind and metadata"
	case want == "object":
		hint = "write its fields below it, or in braces"
	}
	return message, hint
}

// refusedText explains a text that does not have the form of its definition.
func refusedText(def string, value any) (message, hint string) {
	text, ok := value.(string)
	if !ok {
		return "", ""
	}
	switch def {
	case "name":
		if err := keychain.ValidName(text); err != nil {
			return err.Error(), ""
		}
	case "duration":
		if _, message, hint = parseDrain(text); message == "" { // "0" and "+5s"
			message, hint = fmt.Sprintf("%q is not a time as it is written here", text), "write a time with its unit, as in 0s or 5s"
		}
		return message, hint
	case "labelValue":
		return fmt.Sprintf("%q is not the value of a label", text),
			"use letters, digits, '-', '_' and '.', at most 63, with a letter or digit at both ends"
	case "line":
		return "the text must be one line of at most 200 characters", "shorten it"
	}
	return "", ""
}

// parseDrain reads a drain time, or says why it is none.
func parseDrain(text string) (d time.Duration, message, hint string) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Sprintf("%q is not a time", text), "write a time with its unit, as in 5s or 1m30s"
	case d < 0:
		return 0, fmt.Sprintf("a drain time cannot be negative: %s", text), "write 0s to wait for nothing but confirmations"
	case d > MaxDrain:
		return 0, fmt.Sprintf("a drain time of %s is longer than a day", text), "write at most 24h"
	}
	return d, "", ""
}

// repeated gives one finding for each item of a list that was there before.
func repeated(at path, value any) []finding {
	items, _ := value.([]any)
	first := map[any]int{}
	var found []finding
	for i, item := range items {
		name, ok := item.(string)
		if !ok {
			continue
		}
		if j, twice := first[name]; twice {
			found = append(found, finding{at: at.with(i), message: fmt.Sprintf("node %q is already at [%d]", name, j), hint: "remove one of the two"})
			continue
		}
		first[name] = i
	}
	return found
}

func sideHint(at path) string {
	if len(at) > 0 && at[len(at)-1] == "upstream" {
		return "name at least one node that sends"
	}
	return "name at least one node that accepts"
}

// show writes a value of a document in a message.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case nil:
		return "(empty)"
	case map[string]any, []any:
		return "(not text)"
	default:
		return fmt.Sprint(v)
	}
}
