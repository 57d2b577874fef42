package charttest

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// product is the folder of the module that the chart installs.
const product = "../../.."

// build makes the program as go test has compiled it, so that it is only linked.
func build(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keyorch")
	c := exec.CommandContext(t.Context(), "go", "build", "-o", file, "./cmd/keyorch")
	c.Dir = product
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build keyorch: %v\n%s", err, out)
	}
	return file
}

// complaint runs the program with no environment. It refuses to begin, since it
// does not know where etcd is, but reads its arguments before that.
func complaint(ctx context.Context, t *testing.T, program string, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var said bytes.Buffer
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Stdout, c.Stderr = []string{}, &said, &said
	var exit *exec.ExitError
	if err := c.Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("keyorch %s: %v, want exit code 2\n%s", args, err, &said)
	}
	return said.String()
}

// unconnected reports whether the program has read its arguments, and then did not
// know where its servers are.
func unconnected(said string) bool {
	return strings.Contains(said, "set ETCDCTL_ENDPOINTS") || strings.Contains(said, "VAULT_ADDR is not set")
}

func TestProgram(t *testing.T) {
	program := build(t)
	t.Run("takes the arguments", func(t *testing.T) { takesTheArguments(t, program) })
	t.Run("agrees with the schema on names", func(t *testing.T) { agreesOnNames(t, program) })
	t.Run("has the commands of the alerts", func(t *testing.T) { namesCommands(t, program) })
}

func takesTheArguments(t *testing.T, program string) {
	for _, set := range sets() {
		for part, pod := range mustParse(t, set).pods() {
			for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
				if verb, _, _ := strings.Cut(part, " "); !slices.Equal(c.Command, []string{"keyorch"}) ||
					verb != c.Args[0] && verb != "operator" && verb != "test" {
					t.Errorf("%s: %s runs %s %s", set, part, c.Command, c.Args)
				}
				args := slices.Clone(c.Args)
				for i, a := range args {
					args[i] = strings.ReplaceAll(a, "$(HOST)", "host-1")
					if topology := t.TempDir(); a == "/etc/keyorch/topology" {
						writeTopology(t, set, topology)
						args[i] = topology
					}
				}
				if part == "worker" || strings.HasPrefix(part, "agent") { // the last one counts: a test does not take the port of another
					args = append(args, "--health-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0")
				}
				if said := complaint(t.Context(), t, program, args); !unconnected(said) {
					t.Errorf("%s: keyorch %s: %s", set, c.Args, said)
				}
				if said := complaint(t.Context(), t, program, append(args, "--planted")); !strings.Contains(said, "--planted") {
					t.Errorf("a flag that there is not is taken: %s", said)
				}
			}
		}
	}
}

// writeTopology writes what the chart puts into the ConfigMap of the topology.
func writeTopology(t *testing.T, set, dir string) {
	t.Helper()
	for _, c := range mustParse(t, set).configMaps {
		if !strings.HasSuffix(c.Name, "-topology") {
			continue
		}
		for name, text := range c.Data {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestArgumentsSayWhatTheValuesSay(t *testing.T) {
	pods := mustParse(t, "full").pods()
	for part, want := range map[string][]string{
		"worker":    {"worker", "--log-level=debug", "--health-listen=:8181", "--deployment=keyorch", "--webhook-secrets=/etc/keyorch/webhooks", "--metrics-listen=:9464"},
		"agent 1e3": {"agent", "--site=1e3", "--node=007", "--state-dir=/srv/keyorch/1e3", "--log-level=warn", "--health-listen=:8181", "--metrics-listen=:9464"},
		"agent no":  {"agent", "--site=1e3", "--node=$(HOST)", "--state-dir=/var/lib/keyorch/no", "--log-level=info", "--health-listen=:8182", "--metrics-listen=:9465"},
		"operator":  {"schedule", "set", "weekly", "--policy", "core", "--cron", "30 2 * * sun", "--time-zone", "Europe/Berlin", "--jitter", "10m"},
	} {
		if got := pods[part].Spec.Containers[0].Args; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", part, got, want)
		}
	}
	first := pods["operator"].Spec.InitContainers
	if len(first) != 2 || !slices.Equal(first[0].Args, []string{"apply", "-f", "/etc/keyorch/topology"}) ||
		!slices.Equal(first[1].Args, []string{"schedule", "set", "nightly", "--policy", "core"}) {
		t.Errorf("before its last command the operator runs %v", first)
	}
}

// agreesOnNames: a name that passes the schema and not the program would be a pod
// that never runs.
func agreesOnNames(t *testing.T, program string) {
	for _, name := range []string{
		"a", "dc1", "1", "a-b", "a--b", strings.Repeat("a", 63),
		strings.Repeat("a", 64), "-a", "a-", "A", "a.b", "a_b", "a/b", "ä", "a b", "a\n", " ",
	} {
		vals := values(t, "agents")
		vals["agents"].([]any)[0].(map[string]any)["site"] = name
		_, refused := render(vals, false)
		said := complaint(t.Context(), t, program, []string{"agent", "--site=" + name})
		if taken := unconnected(said); taken != (refused == nil) {
			t.Errorf("%q: the program takes it: %v (%s), the schema says: %v", name, taken, strings.TrimSpace(said), refused)
		}
	}
}

func TestProgramReadsTheEnvironment(t *testing.T) {
	read := map[string]bool{}
	for _, folder := range []string{"cmd", "store", "custody"} {
		variablesRead(t, filepath.Join(product, folder), read)
	}
	// Vault's own client reads the rest of Vault's variables, and Temporal's those of
	// Temporal.
	c := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/hashicorp/vault/api", "go.temporal.io/sdk/contrib/envconfig")
	c.Dir = product
	dirs, err := c.Output()
	if err != nil {
		t.Fatal("find the servers' clients:", err)
	}
	for dir := range strings.FieldsSeq(string(dirs)) {
		variablesRead(t, dir, read)
	}
	read["HOST"] = true // Kubernetes puts it into the arguments
	if read["VAULT_PLANTED"] || !read["TEMPORAL_ADDRESS"] {
		t.Fatal("the search finds what is not there, or does not find what is:", read)
	}
	for _, set := range sets() {
		o := mustParse(t, set)
		i := slices.IndexFunc(o.configMaps, func(c corev1.ConfigMap) bool { return strings.HasSuffix(c.Name, "-connections") })
		for part, pod := range o.pods() {
			for _, e := range pod.Spec.Containers[0].Env {
				if !read[e.Name] {
					t.Errorf("%s: %s is given %s, which nothing reads", set, part, e.Name)
				}
				if from := e.ValueFrom; from != nil && from.ConfigMapKeyRef != nil {
					ref := from.ConfigMapKeyRef
					if ref.Name != o.configMaps[i].Name || o.configMaps[i].Data[ref.Key] == "" || ref.Key != e.Name {
						t.Errorf("%s: %s has %s from %s of %s, which is not there", set, part, e.Name, ref.Key, ref.Name)
					}
				}
			}
		}
	}
}

// variablesRead adds the names that a folder's code asks the environment for, as
// a literal or as a constant.
func variablesRead(t *testing.T, folder string, read map[string]bool) {
	t.Helper()
	constants := map[string]string{}
	var asked []ast.Expr
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, v := range n.Values {
					if s, ok := literal(v); ok {
						constants[n.Names[i].Name] = s
					}
				}
			case *ast.CallExpr:
				if len(n.Args) == 1 && slices.Contains([]string{"getenv", "Getenv", "LookupEnv", "ReadVaultVariable"}, called(n)) {
					asked = append(asked, n.Args[0])
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range asked {
		if s, ok := literal(a); ok {
			read[s] = true
		} else if i, ok := a.(*ast.Ident); ok {
			read[constants[i.Name]] = true
		}
	}
}

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// TestPodsAreGivenTimeToStop compares the pods with the times in the code.
func TestPodsAreGivenTimeToStop(t *testing.T) {
	pods := mustParse(t, "full").pods()
	for _, c := range []struct {
		part, file, pattern string
		times               int // how often the time may pass before the process has ended
	}{
		{"worker", "cmd/keyorch/wiring/worker.go", `stopTime = (\d+) \* time\.Second`, 1},
		// One Grace for the devices, and one for giving the nodes up.
		{"agent no", "agents/config.go", `orElse\(&cfg\.Grace, (\d+)\*time\.Second\)`, 2},
	} {
		source, err := os.ReadFile(filepath.Join(product, c.file))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(c.pattern).FindSubmatch(source)
		if found == nil {
			t.Fatalf("%s does not say %s any more: look how long a stop takes now", c.file, c.pattern)
		}
		seconds, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		grace := *pods[c.part].Spec.TerminationGracePeriodSeconds
		if need := int64(c.times*seconds) + 5; grace < need {
			t.Errorf("%s is killed after %d s, and needs up to %d s", c.part, grace, need)
		}
	}
}
