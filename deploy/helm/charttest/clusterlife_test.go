//go:build chart

package charttest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	appsv1 "k8s.io/api/apps/v1"

	cluster "github.com/keyorch/keyorch/deploy/helm/kube"
)

// lives takes every set of values through the life of a release.
func (w world) lives() {
	for _, set := range sets() {
		r := w.installer("lives-"+set, "privileged", ofRelease())
		done := r.finishing(true)
		vals := values(w.T, set)
		began := time.Now()
		w.must(r.install(w.chart(), vals))
		w.Logf("%s: installed in %v", set, time.Since(began))
		want := r.made(vals)
		r.has(want)

		changed := values(w.T, set)
		changed["image"].(map[string]any)["tag"] = "9.9.9"
		changed["image"].(map[string]any)["digest"] = ""
		changed["networkPolicy"] = map[string]any{"enabled": false}
		w.must(r.upgrade(w.chart(), changed))
		r.has(r.made(changed))
		r.runs(":9.9.9")

		back := action.NewRollback(r.helm())
		back.Version, back.Timeout, back.WaitStrategy, back.ServerSideApply = 1, time.Minute, kube.HookOnlyStrategy, "auto"
		w.must(back.Run("east"))
		r.has(want)

		r.uninstall()
		done()
		if left := r.objects(); len(left) > 0 {
			w.Errorf("%s leaves %v", set, left)
		}
	}
}

// runs reports an error unless every workload has an image that ends so.
func (r release) runs(suffix string) {
	r.Helper()
	for _, o := range r.objects() {
		kind, name, _ := strings.Cut(o, "/")
		if kind != "Deployment" && kind != "DaemonSet" {
			continue
		}
		var d appsv1.Deployment
		r.get("/apis/apps/v1 "+strings.ToLower(kind)+"s/"+name, &d)
		if image := d.Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(image, suffix) {
			r.Errorf("%s runs %s", o, image)
		}
	}
}

// upgradesFromBefore: the chart of version 0.1.0, whose values had one agent,
// becomes this one in place. Its own values are refused, with the key that is meant.
func (w world) upgradesFromBefore() {
	archive, err := os.Open("testdata/keyorch-0.1.0.tgz")
	w.must(err)
	defer func() { _ = archive.Close() }()
	before, err := loader.LoadArchive(archive)
	w.must(err)
	old := map[string]any{
		"image": map[string]any{"repository": "registry.example/keyorch"},
		"etcd":  map[string]any{"endpoints": []any{"https://etcd:2379"}}, "vault": map[string]any{"address": "https://vault:8200"},
		"temporal": map[string]any{"address": "temporal:7233"},
		"worker":   map[string]any{"vaultTokenSecret": map[string]any{"name": "w"}},
		"agent":    map[string]any{"site": "dc1", "vaultTokenSecret": map[string]any{"name": "a"}},
	}
	r := w.installer("before", "privileged", ofRelease())
	w.must(r.install(before, old))
	if err := r.upgrade(w.chart(), old); err == nil || !strings.Contains(err.Error(), "'agent'") {
		w.Errorf("values of the chart before are taken: %v", err)
	}
	vals := values(w.T, "worker")
	vals["agents"] = []any{map[string]any{"site": "dc1"}}
	w.must(r.upgrade(w.chart(), vals))
	r.has(r.made(vals))
	back := action.NewRollback(r.helm())
	back.Version, back.Timeout, back.WaitStrategy, back.ServerSideApply = 1, time.Minute, kube.HookOnlyStrategy, "auto"
	w.must(back.Run("east"))
	if got := ofHelm(r.objects()); !slices.Contains(got, "DaemonSet/east-keyorch-agent") {
		w.Errorf("back at the chart before there is %v", got)
	}
	r.uninstall()
	r.has(nil)
}

// needsTheRights takes one kind after the other from whoever installs.
func (w world) needsTheRights() {
	for i, without := range ofRelease() {
		rights := slices.Delete(ofRelease(), i, i+1)
		r := w.installer(fmt.Sprintf("rights-%d", i), "privileged", rights)
		vals := values(w.T, "full")
		u := action.NewInstall(r.helm())
		u.ReleaseName, u.Namespace, u.Timeout, u.WaitStrategy, u.DisableHooks, u.ServerSideApply = "east", r.namespace, time.Minute, kube.HookOnlyStrategy, without.APIGroups[0] != "batch", true
		_, err := u.RunWithContext(w.Context(), w.chart(), vals)
		if err == nil || !strings.Contains(err.Error(), "forbidden") {
			w.Errorf("installed without rights to %v: %v", without.Resources, err)
		}
	}
}

// podSecurity puts every pod of the chart before the admission of Pod Security.
func (w world) podSecurity() {
	for _, set := range sets() {
		for part, pod := range mustParse(w.T, set).pods() {
			want := map[string]bool{"restricted": true, "baseline": true, "privileged": true}
			if set != "gear" && strings.HasPrefix(part, "agent") { // the host keeps their journal
				want = map[string]bool{"privileged": true}
			}
			for level := range map[string]bool{"restricted": true, "baseline": true, "privileged": true} {
				namespace := "security-" + level
				if err := w.Namespace(w.Context(), namespace, map[string]string{"pod-security.kubernetes.io/enforce": level}); err != nil && !exists(err) {
					w.Fatal(err)
				}
				if err := w.Account(w.Context(), namespace, pod.Spec.ServiceAccountName); err != nil && !exists(err) {
					w.Fatal(err)
				}
				err := w.Do(w.Context(), w.Admin, http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods?dryRun=All",
					map[string]any{"metadata": map[string]any{"name": "p", "labels": pod.Labels}, "spec": pod.Spec}, nil)
				if admitted := err == nil; admitted != want[level] || !admitted && !strings.Contains(err.Error(), "violates PodSecurity") {
					w.Errorf("%s: %s admits %s: %v, want %v (%v)", set, level, part, admitted, want[level], err)
				}
			}
		}
	}
}

func exists(err error) bool {
	var r *cluster.Refusal
	return errors.As(err, &r) && r.Code == http.StatusConflict
}

// accountsMayDoNothing: the chart's accounts have the rights of every account that
// there is, and the token that is mounted not even those.
func (w world) accountsMayDoNothing() {
	r := w.installer("accounts", "privileged", ofRelease())
	done := r.finishing(true)
	defer done()
	vals := values(w.T, "full")
	vals["vault"] = map[string]any{"address": "https://vault:8200"}
	vals["certificates"] = map[string]any{"source": "vault"}
	vals["etcd"].(map[string]any)["caSecret"] = map[string]any{"name": "etcd-ca"}
	w.must(r.install(w.chart(), vals))
	w.must(w.Account(w.Context(), r.namespace, "nobody"))
	nobody := r.rights("nobody")
	var accounts []string
	for _, o := range r.objects() {
		if name, ok := strings.CutPrefix(o, "ServiceAccount/"); ok && name != "nobody" {
			accounts = append(accounts, name)
		}
	}
	if len(accounts) != 3 {
		w.Errorf("the accounts are %v", accounts)
	}
	for _, account := range accounts {
		if got := r.rights(account); !slices.Equal(got, nobody) {
			w.Errorf("%s may do\n%v\nand an account that nobody knows\n%v", account, got, nobody)
		}
		token, err := w.Token(w.Context(), r.namespace, account, time.Hour)
		w.must(err)
		for _, path := range []string{"/api/v1/namespaces/" + r.namespace + "/secrets", "/api/v1/namespaces/" + r.namespace + "/pods", "/api/v1/nodes"} {
			if err := w.Do(w.Context(), token, http.MethodGet, path, nil, nil); !refused(err, http.StatusForbidden) {
				w.Errorf("%s reads %s: %v", account, path, err)
			}
		}
		mounted, err := w.Token(w.Context(), r.namespace, account, time.Hour, "vault")
		w.must(err)
		if err := w.Do(w.Context(), mounted, http.MethodGet, "/api", nil, nil); !refused(err, http.StatusUnauthorized) {
			w.Errorf("the token of %s for Vault opens the API server: %v", account, err)
		}
	}
	if installer := r.rights("installer"); slices.Equal(installer, nobody) {
		w.Error("the rights of an account that has some are not told apart")
	}
}

func refused(err error, code int) bool {
	var r *cluster.Refusal
	return errors.As(err, &r) && r.Code == code
}

// rights is what an account may do in its namespace, as the API server says: one
// rule a line, in no order of its.
func (r release) rights(account string) []string {
	r.Helper()
	token, err := r.Token(r.Context(), r.namespace, account, time.Hour)
	r.must(err)
	var review struct {
		Status struct{ ResourceRules, NonResourceRules []map[string]any }
	}
	r.must(r.Do(r.Context(), token, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": map[string]any{"namespace": r.namespace},
	}, &review))
	var rules []string
	for _, rule := range slices.Concat(review.Status.ResourceRules, review.Status.NonResourceRules) {
		rules = append(rules, fmt.Sprint(rule)) // which sorts its keys
	}
	slices.Sort(rules)
	return rules
}

func (w world) aFailedJobIsTold() {
	r := w.installer("fails", "privileged", ofRelease())
	done := r.finishing(false)
	defer done()
	if err := r.install(w.chart(), values(w.T, "full")); err == nil || !strings.Contains(err.Error(), "rotation-operator") {
		w.Errorf("a topology that cannot be applied: %v", err)
	}
}

func (w world) testsRun() {
	for well, want := range map[bool]string{true: "", false: "doctor"} {
		r := w.installer(fmt.Sprintf("doctor-%v", well), "restricted", ofRelease())
		w.must(r.install(w.chart(), values(w.T, "worker")))
		done := r.finishing(well)
		tests := action.NewReleaseTesting(r.helm())
		tests.Namespace, tests.Timeout = r.namespace, time.Minute
		_, _, err := tests.Run("east")
		done()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			w.Errorf("the doctor ends well: %v, and helm test says %v", well, err)
		}
	}
}

func (w world) anEntryGoes() {
	r := w.installer("entries", "restricted", ofRelease())
	vals := values(w.T, "gear")
	w.must(r.install(w.chart(), vals))
	vals["agents"] = vals["agents"].([]any)[:1]
	w.must(r.upgrade(w.chart(), vals))
	r.has(r.made(vals))
	r.uninstall()
	r.has(nil)
}
