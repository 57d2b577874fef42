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
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

const chartDir = "../keyorch"

// sets names the sets of values in testdata.
func sets() []string { return []string{"worker", "agents", "gear", "full"} }

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

// objects is a rendered chart as Kubernetes' own types have it, and the operators'
// that it may make things for.
type objects struct {
	deployments  []appsv1.Deployment
	daemonSets   []appsv1.DaemonSet
	jobs         []batchv1.Job
	testPods     []corev1.Pod
	configMaps   []corev1.ConfigMap
	accounts     []corev1.ServiceAccount
	services     []corev1.Service
	claims       []corev1.PersistentVolumeClaim
	budgets      []policyv1.PodDisruptionBudget
	policies     []networkingv1.NetworkPolicy
	certificates []certificate
	monitors     []serviceMonitor
	rules        []prometheusRule
}

// pods is every pod, by component, and the agents by entry.
func (o objects) pods() map[string]corev1.PodTemplateSpec {
	all := make(map[string]corev1.PodTemplateSpec)
	add := func(t corev1.PodTemplateSpec) {
		name := t.Labels["app.kubernetes.io/component"]
		if entry := t.Labels["keyorch/entry"]; entry != "" {
			name += " " + entry
		}
		all[name] = t
	}
	for _, d := range o.deployments {
		add(d.Spec.Template)
	}
	for _, d := range o.daemonSets {
		add(d.Spec.Template)
	}
	for _, j := range o.jobs {
		add(j.Spec.Template)
	}
	for _, p := range o.testPods {
		all["test"] = corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}
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
		if head.Kind == "" {
			continue
		}
		decode, ok := o.kinds()[head.APIVersion+" "+head.Kind]
		if !ok {
			return o, fmt.Errorf("the chart is not meant to make a %s %s", head.APIVersion, head.Kind)
		}
		if err := decode(doc); err != nil {
			return o, fmt.Errorf("%s: %w", head.Kind, err)
		}
	}
	return o, nil
}

func (o *objects) kinds() map[string]func(doc string) error {
	return map[string]func(string) error{
		"apps/v1 Deployment":                      into(&o.deployments),
		"apps/v1 DaemonSet":                       into(&o.daemonSets),
		"batch/v1 Job":                            into(&o.jobs),
		"v1 Pod":                                  into(&o.testPods),
		"v1 ConfigMap":                            into(&o.configMaps),
		"v1 ServiceAccount":                       into(&o.accounts),
		"v1 Service":                              into(&o.services),
		"v1 PersistentVolumeClaim":                into(&o.claims),
		"policy/v1 PodDisruptionBudget":           into(&o.budgets),
		"networking.k8s.io/v1 NetworkPolicy":      into(&o.policies),
		"cert-manager.io/v1 Certificate":          into(&o.certificates),
		"monitoring.coreos.com/v1 ServiceMonitor": into(&o.monitors),
		"monitoring.coreos.com/v1 PrometheusRule": into(&o.rules),
	}
}

func into[T any](all *[]T) func(doc string) error {
	return func(doc string) error {
		var one T
		err := yaml.UnmarshalStrict([]byte(doc), &one)
		*all = append(*all, one)
		return err
	}
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
	for set, want := range map[string]string{
		"worker": "1 Deployment, 1 test Pod, 1 ConfigMap, 1 ServiceAccount, 1 PodDisruptionBudget, 1 NetworkPolicy",
		"agents": "1 DaemonSet, 1 test Pod, 1 ConfigMap, 1 ServiceAccount",
		"gear":   "3 Deployment, 1 test Pod, 1 ConfigMap, 3 ServiceAccount, 1 PersistentVolumeClaim, 2 PodDisruptionBudget, 3 NetworkPolicy",
		"full": "1 Deployment, 2 DaemonSet, 1 Job, 1 test Pod, 3 ConfigMap, 3 ServiceAccount, 1 Service, 1 PodDisruptionBudget, 2 NetworkPolicy, " +
			"4 Certificate, 1 ServiceMonitor, 1 PrometheusRule",
	} {
		o := mustParse(t, set)
		var got []string
		for _, k := range []struct {
			name string
			n    int
		}{
			{"Deployment", len(o.deployments)}, {"DaemonSet", len(o.daemonSets)}, {"Job", len(o.jobs)}, {"test Pod", len(o.testPods)},
			{"ConfigMap", len(o.configMaps)}, {"ServiceAccount", len(o.accounts)}, {"Service", len(o.services)},
			{"PersistentVolumeClaim", len(o.claims)}, {"PodDisruptionBudget", len(o.budgets)}, {"NetworkPolicy", len(o.policies)},
			{"Certificate", len(o.certificates)}, {"ServiceMonitor", len(o.monitors)}, {"PrometheusRule", len(o.rules)},
		} {
			if k.n > 0 {
				got = append(got, fmt.Sprintf("%d %s", k.n, k.name))
			}
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("%s makes %s, want %s", set, got, want)
		}
	}
	for _, wrong := range []string{
		"apiVersion: apps/v1\nkind: DaemonSet\nspec: {template: {spec: {hostNetworks: true}}}\n",
		"apiVersion: v1\nkind: Secret\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n",
	} {
		if _, err := parse(wrong); err == nil {
			t.Errorf("accepted: %s", wrong)
		}
	}
}
