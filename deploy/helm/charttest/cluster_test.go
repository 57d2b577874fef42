//go:build chart

package charttest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	cluster "github.com/keyorch/keyorch/deploy/helm/kube"
)

// world is an API server, and somebody who installs the chart there with as few
// rights as that takes.
type world struct {
	*testing.T
	*cluster.Cluster
}

// ofRelease is what whoever installs may change in his namespace: the kinds that
// the chart makes, and the Secrets that Helm keeps releases in. It is nothing
// outside of the namespace, and nothing that gives rights.
func ofRelease() []rule {
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete"}
	return []rule{
		{[]string{""}, []string{"secrets", "configmaps", "serviceaccounts", "services", "persistentvolumeclaims", "pods"}, verbs},
		{[]string{"apps"}, []string{"deployments", "daemonsets"}, verbs},
		{[]string{"batch"}, []string{"jobs"}, verbs},
		{[]string{"policy"}, []string{"poddisruptionbudgets"}, verbs},
		{[]string{"networking.k8s.io"}, []string{"networkpolicies"}, verbs},
		{[]string{"cert-manager.io"}, []string{"certificates"}, verbs},
		{[]string{"monitoring.coreos.com"}, []string{"servicemonitors", "prometheusrules"}, verbs},
	}
}

type rule struct {
	APIGroups []string `json:"apiGroups"`
	Resources []string `json:"resources"`
	Verbs     []string `json:"verbs"`
}

func TestCluster(t *testing.T) {
	binary, err := cluster.Binary(t.Context(), "../kube/servers")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Errorf("the servers ended with %v\n%s", err, c.Log())
		}
	}()
	w := world{t, c}
	w.defineKinds()
	for name, f := range map[string]func(world){
		"install, change, go back, uninstall":   world.lives,
		"upgrade from the chart before":         world.upgradesFromBefore,
		"whoever installs needs these rights":   world.needsTheRights,
		"pod security":                          world.podSecurity,
		"accounts may do nothing":               world.accountsMayDoNothing,
		"a job that fails fails the install":    world.aFailedJobIsTold,
		"helm test runs the doctor in a pod":    world.testsRun,
		"an entry that goes takes its own only": world.anEntryGoes,
	} {
		t.Run(name, func(t *testing.T) { f(world{t, c}) })
	}
}

// defineKinds makes the kinds of cert-manager and of the Prometheus operator known.
func (w world) defineKinds() {
	for _, k := range []struct{ group, version, plural, kind string }{
		{"cert-manager.io", "v1", "certificates", "Certificate"},
		{"monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor"},
		{"monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule"},
	} {
		w.must(w.Create(w.Context(), "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", map[string]any{
			"metadata": map[string]any{"name": k.plural + "." + k.group},
			"spec": map[string]any{
				"group": k.group, "scope": "Namespaced", "names": map[string]any{"plural": k.plural, "kind": k.kind},
				"versions": []any{map[string]any{
					"name": k.version, "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			},
		}))
		w.until(k.kind+" is served", func() bool {
			return w.Do(w.Context(), w.Admin, http.MethodGet, fmt.Sprintf("/apis/%s/%s/namespaces/default/%s", k.group, k.version, k.plural), nil, nil) == nil
		})
	}
}

func (w world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w world) until(what string, is func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatal("waited too long until", what)
		}
	}
}

// release is one release in a namespace of its own.
type release struct {
	world
	namespace, kubeconfig string
}

// installer makes a namespace, and an account that may install there with rights.
func (w world) installer(namespace, security string, rights []rule) release {
	w.Helper()
	w.must(w.Namespace(w.Context(), namespace, map[string]string{"pod-security.kubernetes.io/enforce": security}))
	w.must(w.Account(w.Context(), namespace, "installer"))
	rbac := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace
	w.must(w.Create(w.Context(), rbac+"/roles", map[string]any{"metadata": map[string]any{"name": "installer"}, "rules": rights}))
	w.must(w.Create(w.Context(), rbac+"/rolebindings", map[string]any{
		"metadata": map[string]any{"name": "installer"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "installer"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "installer", "namespace": namespace}},
	}))
	token, err := w.Token(w.Context(), namespace, "installer", time.Hour)
	w.must(err)
	file := filepath.Join(w.TempDir(), "kubeconfig")
	w.must(os.WriteFile(file, w.Kubeconfig(token, namespace), 0o600))
	return release{w, namespace, file}
}

// helm is Helm as the installer runs it.
func (r release) helm() *action.Configuration {
	r.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &r.kubeconfig, &r.namespace
	cfg := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	r.must(cfg.Init(flags, r.namespace, "secret"))
	return cfg
}

func (r release) install(chart *chartv2.Chart, vals map[string]any) error {
	i := action.NewInstall(r.helm())
	i.ReleaseName, i.Namespace, i.Timeout, i.WaitStrategy, i.ServerSideApply = "east", r.namespace, time.Minute, kube.HookOnlyStrategy, true
	_, err := i.RunWithContext(r.Context(), chart, vals)
	return err
}

func (r release) upgrade(chart *chartv2.Chart, vals map[string]any) error {
	u := action.NewUpgrade(r.helm())
	u.Namespace, u.Timeout, u.WaitStrategy, u.ServerSideApply = r.namespace, time.Minute, kube.HookOnlyStrategy, "auto"
	_, err := u.RunWithContext(r.Context(), "east", chart, vals)
	return err
}

func (r release) uninstall() {
	r.Helper()
	u := action.NewUninstall(r.helm())
	u.Timeout, u.WaitStrategy = time.Minute, kube.HookOnlyStrategy
	_, err := u.Run("east")
	r.must(err)
}

func (w world) chart() *chartv2.Chart {
	w.Helper()
	c, err := loader.LoadDir(chartDir)
	w.must(err)
	return c
}

// objects lists everything that there is in the namespace but what was there
// before the chart, as KIND/NAME.
func (r release) objects() []string {
	r.Helper()
	var all []string
	for _, group := range []string{
		"/api/v1", "/apis/apps/v1", "/apis/batch/v1", "/apis/policy/v1", "/apis/networking.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1",
		"/apis/cert-manager.io/v1", "/apis/monitoring.coreos.com/v1", "/apis/coordination.k8s.io/v1", "/apis/discovery.k8s.io/v1",
	} {
		var kinds struct {
			Resources []struct {
				Name, Kind string
				Namespaced bool
				Verbs      []string
			}
		}
		r.must(r.Do(r.Context(), r.Admin, http.MethodGet, group, nil, &kinds))
		for _, k := range kinds.Resources {
			if !k.Namespaced || !slices.Contains(k.Verbs, "list") || strings.Contains(k.Name, "/") {
				continue
			}
			var list struct {
				Items []struct {
					Metadata struct{ Name, DeletionTimestamp string }
				}
			}
			r.must(r.Do(r.Context(), r.Admin, http.MethodGet, group+"/namespaces/"+r.namespace+"/"+k.Name, nil, &list))
			for _, i := range list.Items {
				// A claim that is deleted waits for a controller, which there is not.
				if gone := i.Metadata.DeletionTimestamp != ""; i.Metadata.Name != "installer" && !gone {
					all = append(all, k.Kind+"/"+i.Metadata.Name)
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// get reads one object.
func (r release) get(path string, out any) {
	r.Helper()
	group, rest, _ := strings.Cut(path, " ")
	r.must(r.Do(r.Context(), r.Admin, http.MethodGet, group+"/namespaces/"+r.namespace+"/"+rest, nil, out))
}

// finishing lets every Job and Pod end that Helm waits for, as a cluster with
// controllers and a kubelet would, until the returned function is called.
func (r release) finishing(well bool) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			r.finish(ctx, well)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return func() { cancel(); <-over }
}

func (r release) finish(ctx context.Context, well bool) {
	now := time.Now().UTC().Format(time.RFC3339)
	condition := func(kind string) any {
		return map[string]any{"type": kind, "status": "True", "lastTransitionTime": now, "reason": "Test"}
	}
	job := map[string]any{"startTime": now, "completionTime": now, "succeeded": 1, "conditions": []any{condition("SuccessCriteriaMet"), condition("Complete")}}
	phase := "Succeeded"
	if !well {
		job = map[string]any{"startTime": now, "failed": 1, "conditions": []any{condition("FailureTarget"), condition("Failed")}}
		phase = "Failed"
	}
	for path, status := range map[string]any{"/apis/batch/v1 jobs": job, "/api/v1 pods": map[string]any{"phase": phase}} {
		group, kind, _ := strings.Cut(path, " ")
		path := group + "/namespaces/" + r.namespace + "/" + kind
		var list struct {
			Items []struct {
				Metadata struct{ Name string }
				Status   struct {
					CompletionTime string
					Phase          string
					Failed         int
				}
			}
		}
		if r.Do(ctx, r.Admin, http.MethodGet, path, nil, &list) != nil {
			return
		}
		for _, i := range list.Items {
			if i.Status.CompletionTime == "" && i.Status.Failed == 0 && i.Status.Phase != phase {
				err := r.Do(ctx, r.Admin, http.MethodPatch, path+"/"+i.Metadata.Name+"/status", map[string]any{"status": status}, nil)
				if err != nil && ctx.Err() == nil {
					r.T.Log(kind, i.Metadata.Name, "cannot be finished:", err)
				}
			}
		}
	}
}

// made lists what the chart makes of values, hooks apart, as objects does.
func (r release) made(vals map[string]any) []string {
	r.Helper()
	texts, err := render(vals, false)
	r.must(err)
	o, err := parse(manifest(texts))
	r.must(err)
	all := map[string]bool{}
	add := func(kind, name string) { all[kind+"/"+name] = true }
	for _, x := range o.deployments {
		add("Deployment", x.Name)
	}
	for _, x := range o.daemonSets {
		add("DaemonSet", x.Name)
	}
	for _, x := range o.configMaps {
		add("ConfigMap", x.Name)
	}
	for _, x := range o.accounts {
		add("ServiceAccount", x.Name)
	}
	for _, x := range o.services {
		add("Service", x.Name)
	}
	for _, x := range o.claims {
		add("PersistentVolumeClaim", x.Name)
	}
	for _, x := range o.budgets {
		add("PodDisruptionBudget", x.Name)
	}
	for _, x := range o.policies {
		add("NetworkPolicy", x.Name)
	}
	for _, x := range o.certificates {
		add("Certificate", x.Name)
	}
	for _, x := range o.monitors {
		add("ServiceMonitor", x.Name)
	}
	for _, x := range o.rules {
		add("PrometheusRule", x.Name)
	}
	return slices.Sorted(maps.Keys(all))
}

// ofHelm leaves out what Helm keeps for itself.
func ofHelm(all []string) (rest []string) {
	for _, o := range all {
		if !strings.HasPrefix(o, "Secret/sh.helm.release.") {
			rest = append(rest, o)
		}
	}
	return rest
}

func (r release) has(want []string) {
	r.Helper()
	if got := ofHelm(r.objects()); !slices.Equal(got, want) {
		r.Errorf("in %s there is\n%s\nwant\n%s", r.namespace, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
