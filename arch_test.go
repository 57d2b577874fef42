// The rules of the house, as tests: who may import whom, one package doc a
// package, what the product depends on, and where a key can never get to.
package keyorch_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

const module = "github.com/keyorch/keyorch"

// allowed is the import table: for each folder, the folders of the house that
// its packages may import, and the outside modules that it is the home of. A
// folder that is not listed may import everything of the house.
var allowed = map[string]struct{ house, outside []string }{
	"keychain": {},
	"secret":   {},
	"fault":    {},
	// renameio: a certificate and its key are put in place so that no crash leaves half of them.
	"identity": {house: []string{"keychain", "fault"}, outside: []string{"github.com/google/renameio/v2"}},
	"link":     {house: []string{"keychain"}},
	"recovery": {house: []string{"link", "keychain"}},
	"backup":   {house: []string{"fault"}, outside: []string{"filippo.io/age"}},
	// x/crypto: signatures and public keys of OpenSSH.
	"approval": {house: []string{"keychain", "fault", "identity"}, outside: []string{"golang.org/x/crypto/ssh"}},
	"topology": {house: []string{"keychain", "fault", "approval"}, outside: []string{"go.yaml.in/yaml/v3", "github.com/santhosh-tekuri/jsonschema/v6",
		"k8s.io/apimachinery/pkg/labels", "github.com/robfig/cron/v3"}},
	"campaign":    {house: []string{"link", "keychain", "fault", "topology"}},
	"audit":       {house: []string{"link", "keychain", "fault"}},
	"evidence":    {house: []string{"approval", "audit", "entitlement", "identity", "link", "keychain", "fault"}},
	"entitlement": {house: []string{"audit", "identity", "link", "keychain"}},
	"notify":      {house: []string{"approval", "campaign", "link", "keychain", "fault", "topology"}, outside: []string{"github.com/cenkalti/backoff/v5"}},
	"custody":     {house: []string{"keychain", "secret", "fault", "identity"}, outside: []string{"github.com/hashicorp/vault/api", "github.com/cenkalti/backoff/v5"}},
	"store":       {house: []string{"approval", "audit", "campaign", "link", "keychain", "fault", "identity", "topology"}, outside: []string{"go.etcd.io/etcd", "google.golang.org/grpc", "github.com/cenkalti/backoff/v5", "golang.org/x/sync"}},
	"sealing":     {house: []string{"fault"}, outside: []string{"go.temporal.io/sdk", "go.temporal.io/api", "google.golang.org/protobuf"}},
	"upstream":    {house: []string{"keychain", "secret", "fault"}},
	"downstream":  {house: []string{"keychain", "secret", "fault"}},
	"devices":     {house: []string{"upstream", "downstream", "keychain", "secret", "fault"}},
	"agents": {house: []string{"audit", "store", "custody", "upstream", "downstream", "keychain", "secret", "fault"},
		outside: []string{"go.etcd.io/bbolt", "github.com/cenkalti/backoff/v5", "golang.org/x/sync"}},
	"metrics":   {house: []string{"campaign", "link", "keychain", "fault", "topology"}, outside: []string{"github.com/prometheus/client_golang", "go.temporal.io/sdk/client"}},
	"workflows": {house: []string{"approval", "audit", "campaign", "link", "keychain", "fault", "topology"}, outside: []string{"go.temporal.io/sdk", "go.temporal.io/api", "golang.org/x/sync"}},
}

// requirements is what the product itself depends on: clients and no servers.
var requirements = []string{
	"charm.land/bubbletea/v2",
	"charm.land/lipgloss/v2",
	"filippo.io/age",
	"github.com/cenkalti/backoff/v5",
	"github.com/google/renameio/v2",
	"github.com/hashicorp/vault/api",
	"github.com/hashicorp/vault/api/auth/approle",
	"github.com/hashicorp/vault/api/auth/kubernetes",
	"github.com/mdlayher/genetlink",
	"github.com/mdlayher/netlink",
	"github.com/prometheus/client_golang",
	"github.com/robfig/cron/v3",
	"github.com/santhosh-tekuri/jsonschema/v6",
	"github.com/spf13/cobra",
	"github.com/strongswan/govici",
	"github.com/vishvananda/netlink",
	"github.com/vishvananda/netns",
	"go.etcd.io/bbolt",
	"go.etcd.io/etcd/api/v3",
	"go.etcd.io/etcd/client/v3",
	"go.temporal.io/api",
	"go.temporal.io/sdk",
	"go.temporal.io/sdk/contrib/envconfig",
	"go.yaml.in/yaml/v3",
	"golang.org/x/crypto",
	"golang.org/x/sync",
	"golang.org/x/sys",
	"golang.org/x/term",
	"golang.zx2c4.com/wireguard/wgctrl",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
	"k8s.io/apimachinery",
}

type goPackage struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal("go list:", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
}

// folder is the first folder of a package of the house, or "".
func folder(path string) string {
	rest, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

// offences lists the imports of p that the table does not allow.
func offences(p goPackage) []string {
	rule, ruled := allowed[folder(p.ImportPath)]
	if !ruled {
		return nil
	}
	var bad []string
	for _, i := range p.Imports {
		first, _, _ := strings.Cut(i, "/")
		std := !strings.Contains(first, ".")
		house := folder(i)
		switch {
		case std:
		case house != "":
			own := house == folder(p.ImportPath) // say upstream/upstreamtest and upstream
			if !own && !slices.Contains(rule.house, house) {
				bad = append(bad, i)
			}
		case folder(p.ImportPath) == "devices": // each with its own device library
			for _, never := range []string{"go.temporal.io/", "go.etcd.io/etcd", "github.com/hashicorp/vault"} {
				if strings.HasPrefix(i, never) {
					bad = append(bad, i)
				}
			}
		case !slices.ContainsFunc(rule.outside, func(m string) bool { return i == m || strings.HasPrefix(i, m+"/") }):
			bad = append(bad, i)
		}
	}
	return bad
}

func TestImportsFollowTheTable(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		seen[folder(p.ImportPath)] = true
		for _, bad := range offences(p) {
			t.Errorf("%s must not import %s", p.ImportPath, bad)
		}
	}
	for f := range allowed {
		if !seen[f] {
			t.Errorf("the table speaks of %s, which is not there", f)
		}
	}
}

func TestTheImportTableCanFail(t *testing.T) {
	for _, p := range []goPackage{
		{ImportPath: module + "/workflows", Imports: []string{module + "/secret"}},
		{ImportPath: module + "/workflows", Imports: []string{module + "/store"}},
		{ImportPath: module + "/link", Imports: []string{module + "/fault"}},
		{ImportPath: module + "/approval", Imports: []string{module + "/store"}},
		{ImportPath: module + "/agents", Imports: []string{"go.temporal.io/sdk/client"}},
		{ImportPath: module + "/store", Imports: []string{module + "/secret"}},
		{ImportPath: module + "/devices/exec", Imports: []string{"github.com/hashicorp/vault/api"}},
		{ImportPath: module + "/keychain", Imports: []string{"golang.org/x/sync/errgroup"}},
	} {
		if len(offences(p)) == 0 {
			t.Errorf("%s may import %s", p.ImportPath, p.Imports[0])
		}
	}
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	for _, p := range packages(t) {
		docs := 0
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				docs++
			}
		}
		if docs != 1 {
			t.Errorf("%s has %d package docs, want 1", p.ImportPath, docs)
		}
	}
}

func TestTheProductRequiresWhatWasAgreed(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal("go list -m:", err)
	}
	for _, m := range strings.Fields(string(out)) {
		if !slices.Contains(requirements, m) {
			t.Errorf("go.mod requires %s, which nobody agreed on", m)
		}
	}
}

// TestLinkIsPure looks for what the machine must not touch: a clock, chance, the
// outside, maps and goroutines.
func TestLinkIsPure(t *testing.T) {
	err := filepath.WalkDir("link", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, found := range impure(t, path, nil) {
			t.Errorf("%s: %s", path, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{
		"package link; import \"time\"; var _ = time.Now",
		"package link; import _ \"os\"",
		"package link; type t map[string]int",
		"package link; func f() { go f() }",
	} {
		if len(impure(t, "planted.go", source)) == 0 {
			t.Errorf("not found: %s", source)
		}
	}
}

func impure(t *testing.T, path string, source any) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	pure := []string{"errors", "fmt", "slices", "strings", "time", "cmp", module + "/keychain"}
	for _, i := range f.Imports {
		if p := strings.Trim(i.Path.Value, `"`); !slices.Contains(pure, p) {
			found = append(found, "imports "+p)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.MapType:
			found = append(found, "has a map")
		case *ast.GoStmt:
			found = append(found, "starts a goroutine")
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker"}, n.Sel.Name) {
				found = append(found, "asks the clock: time."+n.Sel.Name)
			}
		}
		return true
	})
	return found
}

// TestNoKeyReachesTemporalOrEtcd walks the types of everything that is sent to
// Temporal or written to etcd.
func TestNoKeyReachesTemporalOrEtcd(t *testing.T) {
	var roots []reflect.Type
	roots = append(roots, signature(reflect.TypeOf(workflows.Rotate))...)
	activities := reflect.TypeFor[*workflows.Activities]()
	for m := range activities.Methods() {
		roots = append(roots, signature(m.Type)[1:]...)
	}
	roots = append(roots, signature(reflect.TypeOf(workflows.Rewrap))...)
	for m := range reflect.TypeFor[*workflows.Resealing]().Methods() {
		roots = append(roots, signature(m.Type)[1:]...)
	}
	if len(roots) < 6 {
		t.Fatal("found too few payload types to be true:", roots)
	}
	roots = append(roots, reflect.TypeFor[workflows.AbortRequest](), reflect.TypeFor[workflows.AbortAnswer]())
	for _, r := range roots {
		if path := reaches(r, reflect.TypeFor[keychain.Wrapped]()); path != "" {
			t.Errorf("a wrapped key travels through Temporal: %s", path)
		}
	}
	roots = append(roots, reflect.TypeFor[store.Order](), reflect.TypeFor[store.Observation](), reflect.TypeFor[store.Change](),
		reflect.TypeFor[store.Agent](), reflect.TypeFor[store.Enrolment](), reflect.TypeFor[link.Record](), reflect.TypeFor[topology.Topology]())
	for _, r := range roots {
		if path := reaches(r, reflect.TypeFor[secret.Key]()); path != "" {
			t.Errorf("a key can get out: %s", path)
		}
	}
	type planted struct {
		Deep []map[string]*struct{ K secret.Key }
	}
	if reaches(reflect.TypeFor[planted](), reflect.TypeFor[secret.Key]()) == "" {
		t.Error("a planted key was not found")
	}
}

func signature(f reflect.Type) []reflect.Type {
	var all []reflect.Type
	for i := range f.Ins() {
		all = append(all, i)
	}
	for o := range f.Outs() {
		all = append(all, o)
	}
	return all
}

// reaches is the path from a type to one that it can hold, or "".
func reaches(from, to reflect.Type) string {
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type) string
	walk = func(t reflect.Type) string {
		if t == to {
			return t.String()
		}
		if seen[t] {
			return ""
		}
		seen[t] = true
		next := []reflect.Type{}
		switch t.Kind() {
		case reflect.Struct:
			for f := range t.Fields() {
				next = append(next, f.Type)
			}
		case reflect.Map:
			next = append(next, t.Key(), t.Elem())
		case reflect.Slice, reflect.Array, reflect.Pointer, reflect.Chan:
			next = append(next, t.Elem())
		default:
		}
		for _, n := range next {
			if path := walk(n); path != "" {
				return t.String() + " > " + path
			}
		}
		return ""
	}
	return walk(from)
}
