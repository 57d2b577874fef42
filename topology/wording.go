package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
			say(at.with(name), missing, cmp.Or(missingHint[at.with(name).String()], missingHint[def+"/"+name]))
		}
	case *kind.Type:
		message, hint := wrongType(k, at, value)
		say(at, message, hint)
	case *kind.Const:
		say(at, fmt.Sprintf("%s is not a version of this format", show(value)), fmt.Sprintf("write %s", APIVersion))
	case *kind.Enum:
		message, hint := wrongWord(def, k, value)
		say(at, message, hint)
	case *kind.Not:
		say(at, "both links and percent are there", "keep one of the two")
	case *kind.Minimum, *kind.Maximum, *kind.ExclusiveMinimum:
		message, hint := outOfRange(def, value)
		say(at, message, hint)
	case *kind.MinItems:
		say(at, "the list is empty", emptyHint(at))
	case *kind.MaxItems:
		say(at, fmt.Sprintf("the list has %d entries", k.Got), fmt.Sprintf("write at most %d", k.Want))
	case *kind.UniqueItems:
		found = append(found, repeated(at, value)...)
	default:
		message, hint := refusedText(def, at, value)
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
	"kind":             "write Site, Node, Link, Policy, Webhook or ApprovalRule",
	"metadata":         "write metadata: {name: …}",
	"metadata.name":    "give the object a name",
	"spec":             "say what is declared",
	"spec.site":        "name the site where the node stands",
	"spec.device":      "say what drives the node, as in device: {kind: exec, …}",
	"spec.device.kind": "say which kind of device it is",
	"window/from":      "say when it begins, as in \"22:00\"",
	"window/to":        "say when it ends, as in \"04:00\"",
	"freeze/from":      "say when it begins, as in 2026-12-20",
	"freeze/to":        "write the first day that is not frozen any more, as in 2027-01-03",
	"schedule/cron":    "say when it fires, as in \"0 2 * * *\"",
	"spec.format":      "write standard, slack, pagerduty or alertmanager",
	"spec.verbs":       "list what needs approvals, as in [compromise, rules]",
	"spec.approvers":   "list who may approve, as in [{name: anna, keys: [\"ssh-ed25519 …\"]}]",
	"approver/name":    "write the name under which the person is enrolled: keyorch enroll --operator NAME",
	"approver/keys":    "list the person's public keys: the lines of their .pub files",
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
	names := map[string]string{"null": "empty", "boolean": "true or false", "number": "a number", "integer": "a whole number",
		"string": "text", "array": "a list", "object": "a mapping"}
	wanted := make([]string, len(k.Want))
	for i, w := range k.Want {
		wanted[i] = names[w]
	}
	want := strings.Join(k.Want, " or ")
	message = fmt.Sprintf("must be %s, is %s", strings.Join(wanted, " or "), names[k.Got])
	field, _ := at.last().(string)
	_, timed := bounds[field]
	switch {
	case want == "string" && timed:
		hint = "write a time with its unit, as in 5s"
	case len(k.Want) == 2 && k.Got == "number":
		message, hint = fmt.Sprintf("must be a whole number or a percentage, is %s", show(value)), `write it as in 5 or "10%"`
	case len(k.Want) == 2 && k.Got != "null":
		hint = `write a number or a percentage, as in 5 or "10%"`
	case want == "number" && k.Got == "string", want == "integer" && k.Got == "string":
		hint = "write it without quotes and without a sign, as in 10"
	case want == "integer" && k.Got == "number":
		message, hint = fmt.Sprintf("must be a whole number, is %s", show(value)), "write it as in 5; for a share write percent"
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
func refusedText(def string, at path, value any) (message, hint string) {
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
		field, _ := at.last().(string)
		if _, message, hint = parseTime(field, text); message == "" { // "0" and "+5s"
			message, hint = fmt.Sprintf("%q is not a time as it is written here", text), "write a time with its unit, as in 0s or 5s"
		}
		return message, hint
	case "labelValue":
		return fmt.Sprintf("%q is not the value of a label", text),
			"use letters, digits, '-', '_' and '.', at most 63, with a letter or digit at both ends"
	case "fileName":
		return fmt.Sprintf("%q is not the name of a file with a secret", text),
			"write the name alone, without a directory: the worker is told the directory"
	case "url":
		return "the URL is not made of one line of at most 2000 printable characters", "write it as in https://example.net/hooks/keyorch"
	case "line":
		return "the text must be one line of at most 200 characters", "shorten it"
	}
	return refusedPolicyText(def, text)
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
			what := "node"
			switch at.last() {
			case "days":
				what = "the day"
			case "verbs":
				what = "the verb"
			case "keys":
				what = "the key"
			}
			if at.last() == "events" {
				what = "the event"
			}
			found = append(found, finding{at: at.with(i), message: fmt.Sprintf("%s %q is already at [%d]", what, name, j), hint: "remove one of the two"})
			continue
		}
		first[name] = i
	}
	return found
}

// emptyHint says what belongs into the list at a path.
func emptyHint(at path) string {
	switch at.last() {
	case "upstream":
		return "name at least one node that sends"
	case "downstream":
		return "name at least one node that accepts"
	case "days":
		return "name at least one day, or take the field out for every day"
	case "events":
		return "name at least one event, or take the field out for every one"
	}
	return "write at least one entry, or take the field out"
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
