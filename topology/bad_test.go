package topology_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

var update = flag.Bool("update", false, "write the expected messages in testdata/bad anew")

func badFiles(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/bad/" + pattern + ".yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad files %s: %v", pattern, err)
	}
	return files
}

func TestBadInput(t *testing.T) {
	for _, file := range badFiles(t, "*") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := topology.Parse([]topology.Source{{Name: filepath.Base(file), Data: data}}, someKinds(), topology.Topology{})
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("kind %v of error %v, want invalid", fault.Of(err), err)
			}
			var problems topology.Problems
			if !errors.As(err, &problems) || problems.Error() != err.Error() {
				t.Fatalf("the error is not its Problems: %v", err)
			}
			if !reflect.DeepEqual(got, topology.Topology{}) {
				t.Errorf("a refused text gave %+v", got)
			}
			expected := strings.TrimSuffix(file, ".yaml") + ".txt"
			said := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(expected, []byte(said), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			if said != string(want) {
				t.Errorf("says\n%s\nwant\n%s", said, want)
			}
			for _, p := range problems {
				if p.Message == "" || p.Line < 1 || strings.ContainsAny(p.String(), "\n\r") {
					t.Errorf("problem without message or line, or of several lines: %#v", p)
				}
			}
		})
	}
}

// schemaOfTheirOwn compiles the published bytes as an editor would.
func schemaOfTheirOwn(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(topology.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if draft := doc.(map[string]any)["$schema"]; draft != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("the schema is of %v", draft)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("keyorch.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("keyorch.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// schemaRefuses says how many documents of a file the schema refuses, reading
// them without any code of this package.
func schemaRefuses(t *testing.T, schema *jsonschema.Schema, file string) (refused, all int) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; all++ {
		var v any
		if err := dec.Decode(&v); err != nil {
			break
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if schema.Validate(v) != nil {
			refused++
		}
	}
	return refused, all
}

func TestTheSchemaRefusesWhatHasTheWrongShape(t *testing.T) {
	schema := schemaOfTheirOwn(t)
	for _, file := range badFiles(t, "shape-*") {
		if refused, _ := schemaRefuses(t, schema, file); refused == 0 {
			t.Errorf("%s: the schema accepts every document", file)
		}
	}
	// The schema knows one document at a time: what is wrong between documents is
	// found by Parse alone.
	for _, file := range badFiles(t, "refs-*") {
		if refused, all := schemaRefuses(t, schema, file); refused != 0 || all == 0 {
			t.Errorf("%s: the schema refuses %d of %d documents", file, refused, all)
		}
	}
}

func TestTheSchemaAndTheVocabularyAgreeOnNames(t *testing.T) {
	schema := schemaOfTheirOwn(t)
	for _, name := range []string{"a", "0", "a-b", "a--b", "-a", "a-", "A", "", "a.b", "a_b", "a/b", "é", "a\n", " a",
		strings.Repeat("x", keychain.MaxName), strings.Repeat("x", keychain.MaxName+1)} {
		document := map[string]any{"apiVersion": topology.APIVersion, "kind": "Site", "metadata": map[string]any{"name": name}}
		if ok, valid := schema.Validate(document) == nil, keychain.ValidName(name) == nil; ok != valid {
			t.Errorf("%q: the schema says %v, ValidName %v", name, ok, valid)
		}
	}
}
