package topology_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// before is a small declared topology: link ab from node a to node b.
const before = `
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc1}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc2}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: a}
spec: {site: dc1, device: {kind: sim}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: b}
spec: {site: dc2, device: {kind: sim}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: spare}
spec: {site: dc2, device: {kind: sim}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: ab}
spec: {upstream: [a], downstream: [b]}
`

func TestParseReadsEveryKind(t *testing.T) {
	got := parse(t, before+`---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: nightly, labels: {team: core}}
spec: {drain: 1m30s}
---
# An empty document, and one that is only a comment.
---
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: default}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: hasty}
spec: {drain: 0s}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: gear}
spec:
  site: dc1
  device: {kind: exec, command: [./gear.py, x], port: 22, ratio: 0.5, whole: 2.0, on: true, none: null, map: {k: [1]}}
`, topology.Topology{})

	wantPolicies := make([]topology.Policy, 3)
	for i, name := range []string{"default", "hasty", "nightly"} {
		wantPolicies[i] = topology.DefaultPolicy()
		wantPolicies[i].Name = name
	}
	wantPolicies[1].Drain = 0
	wantPolicies[2].Labels, wantPolicies[2].Drain = topology.Labels{"team": "core"}, 90*time.Second
	if !reflect.DeepEqual(got.Policies, wantPolicies) {
		t.Errorf("policies %+v, want %+v", got.Policies, wantPolicies)
	}
	gear, _ := got.Node("gear")
	wantParams := map[string]any{"command": []any{"./gear.py", "x"}, "port": int64(22), "ratio": 0.5, "whole": int64(2),
		"on": true, "none": nil, "map": map[string]any{"k": []any{int64(1)}}}
	if !reflect.DeepEqual(gear.Device.Params, wantParams) {
		t.Errorf("params %#v, want %#v", gear.Device.Params, wantParams)
	}
	ab, _ := got.Link("ab")
	want := topology.Link{Name: "ab", Upstream: []keychain.NodeID{"a"}, Downstream: []keychain.NodeID{"b"}}
	if !reflect.DeepEqual(ab, want) {
		t.Errorf("link %+v, want %+v", ab, want)
	}
	if len(got.Sites) != 2 || len(got.Nodes) != 4 || len(got.Links) != 1 {
		t.Errorf("read %d sites, %d nodes, %d links", len(got.Sites), len(got.Nodes), len(got.Links))
	}
}

func TestParseAgainstWhatIsDeclared(t *testing.T) {
	declared := parse(t, before, topology.Topology{})
	link := "apiVersion: keyorch/v1\nkind: Link\nmetadata: {name: %s}\nspec: {upstream: [%s], downstream: [%s]}\n"
	node := "apiVersion: keyorch/v1\nkind: Node\nmetadata: {name: %s}\nspec: {site: %s, device: {kind: %s}}\n"
	for _, c := range []struct{ name, text, want string }{
		{"a link may lead to declared nodes", fmt.Sprintf(link, "ba", "b", "a"), ""},
		{"a declared link may be changed", fmt.Sprintf(link, "ab", "a", "b, spare"), ""},
		{"a node without links may move", fmt.Sprintf(node, "spare", "dc1", "sim"), ""},
		{"a node may be declared again as it is", fmt.Sprintf(node, "a", "dc1", "sim"), ""},
		{"a node in a link may not move", fmt.Sprintf(node, "a", "dc2", "sim"),
			`f.yaml:4: Node a: spec.site: the node moves from site "dc1" to "dc2" while link ab uses it: ` +
				`take it out of its links first, apply that, and then move it`},
		{"a node may not leave its link and move at once", fmt.Sprintf(node, "b", "dc1", "sim") + "---\n" + fmt.Sprintf(link, "ab", "a", "spare"),
			`f.yaml:4: Node b: spec.site: the node moves from site "dc2" to "dc1" while link ab uses it: ` +
				`take it out of its links first, apply that, and then move it`},
		{"a node in a link may not get a device that cannot stage", fmt.Sprintf(node, "a", "dc1", "single"),
			`f.yaml:4: Node a: spec.device: the device cannot stage while link ab uses it: it accepts one key at a time, ` +
				`so old and new cannot overlap: choose a device, or parameters, with which a second key can be installed without being used`},
		{"a new link may not use a declared node that is gone wrong", fmt.Sprintf(link, "sb", "spare", "nobody"),
			`f.yaml:4: Link sb: spec.downstream[0]: no node "nobody" is declared: declare it in a document of kind Node`},
		{"a broken declaration is still a declaration", fmt.Sprintf(node, "c", "dc1", "sim, kinds: [x]}, x: {y: 1") + "---\n" + fmt.Sprintf(link, "ac", "a", "c"),
			`f.yaml:4: Node c: spec.x: unknown field "x": the fields here are device and site`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := topology.Parse([]topology.Source{{Name: "f.yaml", Data: []byte(c.text)}}, someKinds(), declared)
			if got := fmt.Sprint(err); got != c.want && !(err == nil && c.want == "") {
				t.Errorf("says\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestADeclaredDeviceThatIsNotKnownAnyMoreIsReportedAtTheLink(t *testing.T) {
	declared := parse(t, before, topology.Topology{})
	kinds := someKinds()
	delete(kinds, "sim")
	text := "apiVersion: keyorch/v1\nkind: Link\nmetadata: {name: ba}\nspec: {upstream: [b], downstream: [a]}\n"
	_, err := topology.Parse([]topology.Source{{Name: "f.yaml", Data: []byte(text)}}, kinds, declared)
	if err == nil || !strings.HasPrefix(err.Error(), `f.yaml:4: Link ba: spec.upstream[0]: the device of node "b" cannot be used: there is no device kind "sim"`) {
		t.Errorf("says %v", err)
	}
}

func TestProblemsOfSeveralFilesAreSortedAndNameTheOther(t *testing.T) {
	site := "apiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc1}\n"
	_, err := topology.Parse([]topology.Source{
		{Name: "b.yaml", Data: []byte(site)},
		{Name: "a.yaml", Data: []byte(strings.Replace(site, "Site", "Sitte", 1) + "---\n" + site)},
		{Name: "c.yaml", Data: make([]byte, topology.MaxSource+1)},
	}, someKinds(), topology.Topology{})
	want := "a.yaml:2: kind: there is no kind \"Sitte\": did you mean \"Site\"? The kinds are Site, Node, Link, Policy, Webhook and ApprovalRule\n" +
		"a.yaml:7: Site dc1: metadata.name: declared already at b.yaml:3: remove or rename one of the two\n" +
		"c.yaml: the file is larger than 16 MiB: split it into several files"
	if fmt.Sprint(err) != want {
		t.Errorf("says\n%v\nwant\n%s", err, want)
	}
}

func TestNamesThatOtherYAMLReadersTakeForSomethingElse(t *testing.T) {
	got := parse(t, "apiVersion: keyorch/v1\nkind: Site\nmetadata: {name: on}\n---\napiVersion: keyorch/v1\nkind: Site\nmetadata: {name: 2026-01-01}\n"+
		"...\n%YAML 1.1\n---\napiVersion: keyorch/v1\nkind: Site\nmetadata: &m {name: n}\n---\n{\"apiVersion\":\"keyorch/v1\",\"kind\":\"Site\",\"metadata\":{\"name\":\"z\"}}\n", topology.Topology{})
	var names []keychain.SiteID
	for _, s := range got.Sites {
		names = append(names, s.Name)
	}
	if fmt.Sprint(names) != "[2026-01-01 n on z]" {
		t.Errorf("sites %v", names)
	}
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("examples %v, %v", files, err)
	}
	schema := schemaOfTheirOwn(t)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := parse(t, string(data), topology.Topology{})
		if err := got.Validate(someKinds()); err != nil {
			t.Errorf("%s: validate: %v", file, err)
		}
		sameAfterWriting(t, got)
		if refused, all := schemaRefuses(t, schema, file); refused != 0 || all == 0 {
			t.Errorf("%s: the schema refuses %d of %d documents", file, refused, all)
		}
	}
}

// sameAfterWriting writes a topology as YAML and as JSON and reads it back.
func sameAfterWriting(t *testing.T, want topology.Topology) {
	t.Helper()
	var out bytes.Buffer
	if err := topology.Encode(&out, want); err != nil {
		t.Fatalf("encode: %v", err)
	}
	got, err := topology.Parse([]topology.Source{{Name: "again.yaml", Data: out.Bytes()}}, nil, want)
	if err != nil {
		t.Fatalf("parse what was encoded: %v\n%s", err, out.Bytes())
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("encoded and parsed\n%#v\nwant\n%#v\n%s", got, want, out.Bytes())
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	var fromJSON topology.Topology
	if err := json.Unmarshal(text, &fromJSON); err != nil {
		t.Fatalf("unmarshal: %v\n%s", err, text)
	}
	if !reflect.DeepEqual(fromJSON, want) {
		t.Fatalf("marshalled and unmarshalled\n%#v\nwant\n%#v\n%s", fromJSON, want, text)
	}
}

func TestValidateWithoutFiles(t *testing.T) {
	good := parse(t, before, topology.Topology{})
	if err := good.Validate(someKinds()); err != nil {
		t.Errorf("a good topology: %v", err)
	}
	bad := topology.Topology{
		Sites: []topology.Site{{Name: "dc1"}, {Name: "dc1"}},
		Nodes: []topology.Node{{Name: "N", Site: "dc1", Device: topology.Device{Kind: "sim"}},
			{Name: "odd", Site: "dc1", Device: topology.Device{Kind: "sim", Params: map[string]any{"c": make(chan int)}}}},
		Links:    []topology.Link{{Name: "l", Upstream: []keychain.NodeID{"x", "x"}}},
		Policies: []topology.Policy{{Name: "p", Drain: -time.Second}, {Name: "q", Drain: 25 * time.Hour}},
	}
	err := bad.Validate(someKinds())
	want := `Node: metadata.name: "N" is not a name: use lower-case letters, digits and '-', with a letter or digit at both ends
Node odd: it cannot be written as a document: json: unsupported type: chan int
Link l: spec.downstream: the list is empty: name at least one node that accepts
Link l: spec.upstream[1]: node "x" is already at [0]: remove one of the two
Policy p: spec.drain: a drain time cannot be negative: -1s: write 0s to wait for nothing but confirmations
Policy q: spec.drain: a drain time of 25h is longer than a day: write at most 24h
Site dc1: metadata.name: declared twice: remove or rename one of the two`
	if fmt.Sprint(err) != want || !fault.Is(err, fault.Invalid) {
		t.Errorf("says\n%v\nwant\n%s", err, want)
	}
}

func TestStoredDocumentsHaveTheKubernetesShape(t *testing.T) {
	node := topology.Node{Name: "n", Labels: topology.Labels{"b": "2", "a": "1"}, Site: "dc1",
		Device: topology.Device{Kind: "exec", Params: map[string]any{"command": []any{"x"}, "port": int64(22)}}}
	got, err := json.Marshal(node)
	want := `{"apiVersion":"keyorch/v1","kind":"Node","metadata":{"name":"n","labels":{"a":"1","b":"2"}},` +
		`"spec":{"site":"dc1","device":{"command":["x"],"kind":"exec","port":22}}}`
	if err != nil || string(got) != want {
		t.Errorf("marshal: %s, %v\nwant %s", got, err, want)
	}
	if got, _ := json.Marshal(topology.Policy{Name: "p"}); !strings.Contains(string(got), `"spec":{"drain":"0s","budget":{"campaign":0,"wave":0},"tail":"0s"}`) {
		t.Errorf("a policy without drain: %s", got)
	}
	for _, c := range []struct{ name, text, want string }{
		{"another kind", `{"apiVersion":"keyorch/v1","kind":"Site","metadata":{"name":"n"}}`, "read Node: the document declares Site n"},
		{"an unknown field", strings.Replace(want, `"site"`, `"rack":1,"site"`, 1), `Node n: spec.rack: unknown field "rack": the fields here are device and site`},
		{"a field twice", strings.Replace(want, `"site"`, `"site":"dc2","site"`, 1), `read Node: the field "site" is there twice`},
		{"another version", strings.Replace(want, "v1", "v2", 1), `Node n: apiVersion: "keyorch/v2" is not a version of this format: write keyorch/v1`},
		{"nothing", `null`, "must be a mapping, is empty: write a value, or take the field out"},
		{"a number too large", strings.Replace(want, "22", "1e999", 1), "read Node: the number 1e999 cannot be kept"},
	} {
		var n topology.Node
		if err := json.Unmarshal([]byte(c.text), &n); fmt.Sprint(err) != c.want || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: says %v (%v), want %s", c.name, err, fault.Of(err), c.want)
		}
	}
}

func TestMergeReplacesByName(t *testing.T) {
	a := topology.Topology{Sites: []topology.Site{{Name: "z"}, {Name: "a", Description: "old"}}, Policies: []topology.Policy{{Name: "p"}}}
	b := topology.Topology{Sites: []topology.Site{{Name: "m"}, {Name: "a", Description: "new"}}}
	got := a.Merge(b)
	want := topology.Topology{Sites: []topology.Site{{Name: "a", Description: "new"}, {Name: "m"}, {Name: "z"}}, Policies: []topology.Policy{{Name: "p"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("merge %+v, want %+v", got, want)
	}
}

func TestLookups(t *testing.T) {
	unsorted := topology.Topology{
		Nodes:    []topology.Node{{Name: "z", Site: "s2"}, {Name: "b", Site: "s1"}, {Name: "a", Site: "s2"}},
		Policies: []topology.Policy{{Name: "p", Drain: 0}},
	}
	for _, name := range []keychain.NodeID{"a", "b", "z"} {
		if n, ok := unsorted.Node(name); !ok || n.Name != name {
			t.Errorf("node %s: %+v, %v", name, n, ok)
		}
	}
	if _, ok := unsorted.Node("nobody"); ok {
		t.Error("found a node that is not declared")
	}
	if got := unsorted.SitesOf([]keychain.NodeID{"z", "a", "nobody", "b"}); fmt.Sprint(got) != "[s1 s2]" {
		t.Errorf("sites %v", got)
	}
	if got := unsorted.PolicyOf(topology.Link{Policy: "p"}); got.Drain != 0 {
		t.Errorf("the policy named: %+v", got)
	}
	if got := unsorted.PolicyOf(topology.Link{}); got.Drain != topology.DefaultDrain {
		t.Errorf("no policy: %+v", got)
	}
}

func TestADeviceThatIsDeclaredAnewStillFitsItsLinks(t *testing.T) {
	const links = `
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc1}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: n1}
spec: {site: dc1, device: {kind: sim}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: n2}
spec: {site: dc1, device: {kind: sim}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: l1}
spec: {upstream: [n1], downstream: [n2]}
`
	declared := parse(t, links, topology.Topology{})
	anew := "apiVersion: keyorch/v1\nkind: Node\nmetadata: {name: n2}\nspec: {site: dc1, device: {kind: both}}\n"
	_, err := topology.Parse([]topology.Source{{Name: "anew.yaml", Data: []byte(anew)}}, someKinds(), declared)
	if want := "the device cannot take part while link l1 uses it: on link l1 it must stand on both sides"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// TestAKindIsToldThePartOfANode looks at what a kind is asked about each node.
func TestAKindIsToldThePartOfANode(t *testing.T) {
	const segment = `
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc1}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: n1}
spec: {site: dc1, device: {kind: sim}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: n2}
spec: {site: dc1, device: {kind: asks}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: n3}
spec: {site: dc1, device: {kind: sim}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: l1}
spec: {upstream: [n1, n2, n3], downstream: [n2]}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: l2}
spec: {upstream: [n1], downstream: [n2, n3]}
`
	kinds := someKinds()
	var asked []keychain.Part
	kinds["asks"] = topology.Kind{Check: kinds["sim"].Check, Part: func(_ topology.Device, p keychain.Part) error {
		asked = append(asked, p)
		return nil
	}}
	if _, err := topology.Parse([]topology.Source{{Name: "test.yaml", Data: []byte(segment)}}, kinds, topology.Topology{}); err != nil {
		t.Fatal(err)
	}
	want := []keychain.Part{
		{Link: "l1", Sends: true, Accepts: true, OtherSenders: 2, Nodes: 3},
		{Link: "l2", Accepts: true, OtherSenders: 1, Nodes: 3},
	}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("asked about %+v, want %+v", asked, want)
	}
}
