package custody

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// fakeVault is a Vault with state: it keeps KEKs, really wraps under a key
// derived from the context, and allows a token what its policy says.
type fakeVault struct {
	*httptest.Server
	mu       sync.Mutex
	keks     map[string]*fakeKEK
	policies map[string]string                                 // token → policy, in HCL
	acl      map[string]string                                 // policies written
	minted   [][]byte                                          // every key ever minted
	sealed   bool                                              // as /sys/health tells
	before   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	size     int                                               // of a minted key, in bytes
	old      bool                                              // it knows no partial failure
	batches  []int                                             // how many keys each request for many asked for
	singles  int                                               // requests for one key
}

type fakeKEK struct {
	Type       string `json:"type"`
	Derived    bool   `json:"derived"`
	Exportable bool   `json:"exportable"`
	root       []byte
}

func newVault(t *testing.T) *fakeVault {
	t.Helper()
	v := &fakeVault{keks: map[string]*fakeKEK{}, policies: map[string]string{}, acl: map[string]string{}, size: 32}
	v.Server = httptest.NewServer(v)
	t.Cleanup(v.Close)
	t.Setenv("VAULT_ADDR", "")
	t.Setenv("VAULT_TOKEN", "")
	return v
}

// as opens a custody with a token under policy.
func (v *fakeVault) as(t *testing.T, token, policy string) *Custody {
	t.Helper()
	v.mu.Lock()
	v.policies[token] = policy
	v.mu.Unlock()
	c, err := Open(Config{Address: v.URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var pathRule = regexp.MustCompile(`path "([^"]+)" \{\s*capabilities = \[([^\]]*)\]`)

// allows evaluates a policy as Vault does, as far as keyorch's rules go.
func allows(policy, path, capability string) bool {
	for _, m := range pathRule.FindAllStringSubmatch(policy, -1) {
		prefix, glob := strings.CutSuffix(m[1], "*")
		if (path == m[1] || glob && strings.HasPrefix(path, prefix)) && strings.Contains(m[2], `"`+capability+`"`) {
			return true
		}
	}
	return false
}

func (v *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	before := v.before
	v.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if path == "sys/health" {
		answer(w, 200, map[string]any{"initialized": true, "sealed": v.sealed})
		return
	}
	if path == "auth/token/lookup-self" {
		policy, lives := v.policies[r.Header.Get("X-Vault-Token")]
		if !lives || !allows(policy, path, "read") {
			answer(w, 403, map[string]any{"errors": []string{"permission denied"}})
			return
		}
		answer(w, 200, map[string]any{"data": map[string]any{"ttl": 3600, "renewable": true, "policies": []string{"its-own"}}})
		return
	}
	capability := "update"
	if r.Method == http.MethodGet {
		capability = "read"
	}
	if !allows(v.policies[r.Header.Get("X-Vault-Token")], path, capability) {
		answer(w, 403, map[string]any{"errors": []string{"permission denied"}})
		return
	}
	var in struct {
		Context    []byte `json:"context"`
		Ciphertext string `json:"ciphertext"`
		Policy     string `json:"policy"`
		Batch      []struct {
			Context    []byte `json:"context"`
			Ciphertext string `json:"ciphertext"`
		} `json:"batch_input"`
		Partial int `json:"partial_failure_response_code"`
		fakeKEK
	}
	body, _ := io.ReadAll(r.Body)
	if len(body) > 0 && json.Unmarshal(body, &in) != nil {
		answer(w, 400, map[string]any{"errors": []string{"bad body"}})
		return
	}
	name := path[strings.LastIndex(path, "/")+1:]
	switch {
	case strings.HasPrefix(path, "sys/policies/acl/"):
		v.acl[name] = in.Policy
		w.WriteHeader(204)
	case strings.HasPrefix(path, "transit/keys/"):
		v.key(w, r, name, in.fakeKEK)
	case v.keks[name] == nil:
		answer(w, 400, map[string]any{"errors": []string{"encryption key not found"}})
	case strings.HasPrefix(path, "transit/datakey/wrapped/"):
		key := make([]byte, v.size)
		_, _ = rand.Read(key)
		v.minted = append(v.minted, key)
		box := v.keks[name].box(in.Context)
		nonce := make([]byte, box.NonceSize())
		_, _ = rand.Read(nonce)
		sealed := base64.StdEncoding.EncodeToString(box.Seal(nonce, nonce, key, nil))
		answer(w, 200, map[string]any{"data": map[string]any{"ciphertext": "vault:v1:" + sealed}})
	case strings.HasPrefix(path, "transit/decrypt/") && in.Batch != nil:
		v.batches = append(v.batches, len(in.Batch))
		results, good := make([]map[string]any, len(in.Batch)), 0
		for i, item := range in.Batch {
			key, fault := decrypt(v.keks[name].box(item.Context), item.Ciphertext)
			if results[i] = map[string]any{"plaintext": key, "reference": ""}; fault != "" {
				results[i] = map[string]any{"error": fault, "reference": ""}
			} else {
				good++
			}
		}
		status := 200
		if good < len(results) {
			if status = 400; good > 0 && in.Partial != 0 && !v.old {
				status = in.Partial
			}
		}
		answer(w, status, map[string]any{"data": map[string]any{"batch_results": results}})
	case strings.HasPrefix(path, "transit/decrypt/"):
		v.singles++
		key, fault := decrypt(v.keks[name].box(in.Context), in.Ciphertext)
		if fault != "" {
			answer(w, 400, map[string]any{"errors": []string{fault}})
			return
		}
		answer(w, 200, map[string]any{"data": map[string]any{"plaintext": key}})
	}
}

func decrypt(box cipher.AEAD, ciphertext string) (key []byte, fault string) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(ciphertext, "vault:v1:"))
	if err != nil || len(raw) < box.NonceSize() {
		return nil, "invalid ciphertext"
	}
	key, err = box.Open(nil, raw[:box.NonceSize()], raw[box.NonceSize():], nil)
	if err != nil {
		return nil, "cipher: message authentication failed"
	}
	return key, ""
}

func (v *fakeVault) key(w http.ResponseWriter, r *http.Request, name string, want fakeKEK) {
	if r.Method == http.MethodGet {
		if v.keks[name] == nil {
			answer(w, 404, map[string]any{"errors": []string{}})
			return
		}
		answer(w, 200, map[string]any{"data": v.keks[name]})
		return
	}
	if v.keks[name] == nil {
		want.root = make([]byte, 32)
		_, _ = rand.Read(want.root)
		v.keks[name] = &want
	}
	answer(w, 200, map[string]any{"data": v.keks[name]})
}

// box is the AEAD under the key that context derives.
func (k *fakeKEK) box(context []byte) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, k.root, nil, string(context), 32)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return box
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (v *fakeVault) setBefore(f func(w http.ResponseWriter, r *http.Request) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.before = f
}

func (v *fakeVault) lastMinted() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.minted[len(v.minted)-1]
}
