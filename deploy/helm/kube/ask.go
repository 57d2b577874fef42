package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

func client(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
}

func base64PEM(pem []byte) string { return base64.StdEncoding.EncodeToString(pem) }

// Refusal is an answer of the API server that is no success.
type Refusal struct {
	Code    int
	Message string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Code, r.Message) }

// Do asks the API server as the holder of token. In goes along as JSON, and the
// answer is read into out; either may be nil. An answer above 299 is a *Refusal.
func (c *Cluster) Do(ctx context.Context, token, method, path string, in, out any) error {
	body, contentType := io.Reader(nil), "application/json"
	if method == http.MethodPatch {
		contentType = "application/merge-patch+json"
	}
	if in != nil {
		doc, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(doc)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", contentType)
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode > 299 {
		var status struct{ Message string }
		if json.Unmarshal(answer, &status) != nil || status.Message == "" {
			status.Message = string(answer)
		}
		return &Refusal{resp.StatusCode, status.Message}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// Create makes an object of the kind that path names.
func (c *Cluster) Create(ctx context.Context, path string, object any) error {
	return c.Do(ctx, c.Admin, http.MethodPost, path, object, nil)
}

// Namespace makes a namespace with labels.
func (c *Cluster) Namespace(ctx context.Context, name string, labels map[string]string) error {
	return c.Create(ctx, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": name, "labels": labels}})
}

// Account makes a ServiceAccount.
func (c *Cluster) Account(ctx context.Context, namespace, name string) error {
	return c.Create(ctx, "/api/v1/namespaces/"+namespace+"/serviceaccounts", map[string]any{"metadata": map[string]any{"name": name}})
}

// Token is a token of a ServiceAccount as a kubelet gets it for a pod, for
// audiences, or for the API server if there are none.
func (c *Cluster) Token(ctx context.Context, namespace, account string, life time.Duration, audiences ...string) (string, error) {
	spec := map[string]any{"expirationSeconds": int(life.Seconds())}
	if len(audiences) > 0 {
		spec["audiences"] = audiences
	}
	var made struct{ Status struct{ Token string } }
	err := c.Do(ctx, c.Admin, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token", map[string]any{"spec": spec}, &made)
	return made.Status.Token, err
}
