//go:build chart

package kube_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/keyorch/keyorch/deploy/helm/kube"
)

// TestACluster shows that what the other tests rest on is there: admission, RBAC
// and tokens.
func TestACluster(t *testing.T) {
	binary, err := kube.Binary(t.Context(), "servers")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c, err := kube.Start(t.Context(), binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
	defer func() {
		began := time.Now()
		if err := c.Stop(); err != nil {
			t.Errorf("the servers ended with %v\n%s", err, c.Log())
		}
		t.Logf("stopped after %v", time.Since(began))
	}()
	var version struct{ GitVersion string }
	if err := c.Do(t.Context(), c.Admin, http.MethodGet, "/version", nil, &version); err != nil || version.GitVersion != "v1.36.3" {
		t.Errorf("the version is %q, %v", version.GitVersion, err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Namespace(t.Context(), "net", nil))
	must(c.Account(t.Context(), "net", "nobody"))
	token, err := c.Token(t.Context(), "net", "nobody", time.Hour)
	must(err)
	var me struct {
		Status struct{ UserInfo struct{ Username string } }
	}
	must(c.Do(t.Context(), token, http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews",
		map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, &me))
	if me.Status.UserInfo.Username != "system:serviceaccount:net:nobody" {
		t.Errorf("the token is that of %q", me.Status.UserInfo.Username)
	}
	err = c.Do(t.Context(), token, http.MethodGet, "/api/v1/namespaces/net/secrets", nil, nil)
	if refused, ok := err.(*kube.Refusal); !ok || refused.Code != http.StatusForbidden {
		t.Errorf("an account without rights lists secrets: %v", err)
	}
	err = c.Create(t.Context(), "/api/v1/namespaces/net/pods", map[string]any{"metadata": map[string]any{"name": "p"},
		"spec": map[string]any{"serviceAccountName": "missing", "containers": []any{map[string]any{"name": "c", "image": "i"}}}})
	if refused, ok := err.(*kube.Refusal); !ok || refused.Code != http.StatusForbidden {
		t.Errorf("a pod of an account that there is not is admitted: %v", err)
	}
}
