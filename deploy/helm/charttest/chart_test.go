// Package charttest holds the tests of keyorch's Helm chart: what it renders,
// which values it refuses, and that it agrees with the program that it starts.
// It needs no cluster, and cannot tell what one would do with the result beyond
// whether the fields are Kubernetes' own.
package charttest

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

const chartDir = "../keyorch"

// sets names the sets of values in testdata.
func sets() []string { return []string{"worker", "agents", "full"} }

// values reads a set anew, so that a test may change what it gets.
func values(t *testing.T, set string) map[string]any {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", set+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := yaml.UnmarshalStrict(doc, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// render is what Helm makes of values: one text a template, by file name.
// Unchecked leaves the schema out.
func render(vals map[string]any, unchecked bool) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	release := common.ReleaseOptions{Name: "east", Namespace: "net", Revision: 1, IsInstall: true}
	all, err := commonutil.ToRenderValuesWithSchemaValidation(chart, vals, release, nil, unchecked)
	if err != nil {
		return nil, err
	}
	texts, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		return nil, err
	}
	byFile := make(map[string]string)
	for name, text := range texts {
		if text = strings.TrimSpace(text); text != "" {
			byFile[path.Base(name)] = text + "\n"
		}
	}
	return byFile, nil
}

func mustRender(t *testing.T, set string) map[string]string {
	t.Helper()
	texts, err := render(values(t, set), false)
	if err != nil {
		t.Fatalf("render %s: %v", set, err)
	}
	return texts
}

// manifest is everything that would go to a cluster.
func manifest(texts map[string]string) string {
	var b strings.Builder
	for _, file := range slices.Sorted(maps.Keys(texts)) {
		if file != "NOTES.txt" {
			fmt.Fprintf(&b, "---\n# %s\n%s", file, strings.TrimPrefix(texts[file], "---\n"))
		}
	}
	return b.String()
}

// objects is a rendered chart as Kubernetes' own types have it.
type objects struct {
	deployments []appsv1.Deployment
	daemonSets  []appsv1.DaemonSet
	configMaps  []corev1.ConfigMap
	accounts    []corev1.ServiceAccount
}

// pods is every pod template, by component.
func (o objects) pods() map[string]corev1.PodTemplateSpec {
	all := make(map[string]corev1.PodTemplateSpec)
	for _, d := range o.deployments {
		all[d.Spec.Template.Labels["app.kubernetes.io/component"]] = d.Spec.Template
	}
	for _, d := range o.daemonSets {
		all[d.Spec.Template.Labels["app.kubernetes.io/component"]] = d.Spec.Template
	}
	return all
}

// parse refuses a field that Kubernetes does not have, and a kind that the chart
// is not meant to make.
func parse(manifest string) (objects, error) {
	var o objects
	for doc := range strings.SplitSeq(manifest, "---\n") {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			return o, err
		}
		var err error
		switch head.APIVersion + " " + head.Kind {
		case "apps/v1 Deployment":
			o.deployments, err = decoded(o.deployments, doc)
		case "apps/v1 DaemonSet":
			o.daemonSets, err = decoded(o.daemonSets, doc)
		case "v1 ConfigMap":
			o.configMaps, err = decoded(o.configMaps, doc)
		case "v1 ServiceAccount":
			o.accounts, err = decoded(o.accounts, doc)
		case " ":
		default:
			err = fmt.Errorf("the chart is not meant to make a %s %s", head.APIVersion, head.Kind)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func decoded[T any](all []T, doc string) ([]T, error) {
	var one T
	err := yaml.UnmarshalStrict([]byte(doc), &one)
	return append(all, one), err
}

func mustParse(t *testing.T, set string) objects {
	t.Helper()
	o, err := parse(manifest(mustRender(t, set)))
	if err != nil {
		t.Fatalf("%s: %v", set, err)
	}
	return o
}

func TestLintFindsNothing(t *testing.T) {
	for _, set := range sets() {
		for _, m := range lint.RunAll(chartDir, values(t, set), "net").Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", set, m)
			}
		}
	}
}

func TestLintCanFail(t *testing.T) {
	broken := t.TempDir() + "/keyorch"
	if err := os.CopyFS(broken, os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken+"/templates/broken.yaml", []byte("kind: {{ .Values.worker.nothing.here }}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if lint.RunAll(broken, values(t, "full"), "net").HighestSeverity < support.ErrorSev {
		t.Error("a broken template passes")
	}
}

func TestRenderingIsAsRecorded(t *testing.T) {
	for _, set := range sets() {
		texts := mustRender(t, set)
		got := manifest(texts) + "=== NOTES.txt\n" + texts["NOTES.txt"]
		file := filepath.Join("testdata", set+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: not as in %s; if it is right, run go test -update . and read the difference\n%s", set, file, firstDifference(got, string(want)))
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got  %s\n want %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

func TestObjectsHaveOnlyFieldsThatKubernetesHas(t *testing.T) {
	for set, want := range map[string][4]int{"worker": {1, 0, 1, 1}, "agents": {0, 1, 1, 1}, "full": {1, 1, 1, 1}} {
		o := mustParse(t, set)
		if got := [4]int{len(o.deployments), len(o.daemonSets), len(o.configMaps), len(o.accounts)}; got != want {
			t.Errorf("%s: deployments, daemon sets, config maps and accounts are %v, want %v", set, got, want)
		}
	}
	for _, wrong := range []string{
		"apiVersion: apps/v1\nkind: DaemonSet\nspec: {template: {spec: {hostNetworks: true}}}\n",
		"apiVersion: v1\nkind: Secret\n",
	} {
		if _, err := parse(wrong); err == nil {
			t.Errorf("accepted: %s", wrong)
		}
	}
}
