package custody

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
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
	Type       string         `json:"type"`
	Derived    bool           `json:"derived"`
	Exportable bool           `json:"exportable"`
	Latest     int            `json:"latest_version"`
	Opens      int            `json:"min_decryption_version"`
	Encrypts   int            `json:"min_encryption_version"`
	Kept       int            `json:"min_available_version"`
	roots      map[int][]byte // by version
}

// rotate gives k its next version.
func (k *fakeKEK) rotate() {
	root := make([]byte, 32)
	_, _ = rand.Read(root)
	if k.roots == nil {
		k.roots = map[int][]byte{}
	}
	k.Latest++
	k.roots[k.Latest] = root
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
	var in fakeRequest
	body, _ := io.ReadAll(r.Body)
	if len(body) > 0 && json.Unmarshal(body, &in) != nil {
		answer(w, 400, map[string]any{"errors": []string{"bad body"}})
		return
	}
	name := path[strings.LastIndex(path, "/")+1:]
	switch kek, more, _ := strings.Cut(strings.TrimPrefix(path, "transit/keys/"), "/"); {
	case strings.HasPrefix(path, "sys/policies/acl/"):
		v.acl[name] = in.Policy
		if _, has := v.policies[name]; has { // a token that is called like its policy
			v.policies[name] = in.Policy
		}
		w.WriteHeader(204)
	case strings.HasPrefix(path, "transit/keys/") && more == "":
		v.key(w, r, name, in.fakeKEK)
	case strings.HasPrefix(path, "transit/keys/"):
		v.change(w, v.keks[kek], more, in.fakeKEK)
	case v.keks[name] == nil:
		answer(w, 400, map[string]any{"errors": []string{"encryption key not found"}})
	case strings.HasPrefix(path, "transit/datakey/wrapped/"):
		key := make([]byte, v.size)
		_, _ = rand.Read(key)
		v.minted = append(v.minted, key)
		answer(w, 200, map[string]any{"data": map[string]any{"ciphertext": v.keks[name].encrypt(in.Context, key)}})
	case strings.HasPrefix(path, "transit/rewrap/"):
		results := make([]map[string]any, len(in.Batch))
		for i, item := range in.Batch {
			key, fault := v.keks[name].decrypt(item.Context, item.Ciphertext)
			if results[i] = map[string]any{"error": fault}; fault == "" {
				results[i] = map[string]any{"ciphertext": v.keks[name].encrypt(item.Context, key)}
			}
		}
		answer(w, 200, map[string]any{"data": map[string]any{"batch_results": results}})
	case strings.HasPrefix(path, "transit/decrypt/") && in.Batch != nil:
		v.decryptMany(w, name, in)
	case strings.HasPrefix(path, "transit/decrypt/"):
		v.singles++
		key, fault := v.keks[name].decrypt(in.Context, in.Ciphertext)
		if fault != "" {
			answer(w, 400, map[string]any{"errors": []string{fault}})
			return
		}
		answer(w, 200, map[string]any{"data": map[string]any{"plaintext": key}})
	}
}

type fakeRequest struct {
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

func (v *fakeVault) decryptMany(w http.ResponseWriter, name string, in fakeRequest) {
	v.batches = append(v.batches, len(in.Batch))
	results, good := make([]map[string]any, len(in.Batch)), 0
	for i, item := range in.Batch {
		key, fault := v.keks[name].decrypt(item.Context, item.Ciphertext)
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
}

func (k *fakeKEK) encrypt(context, key []byte) string {
	box := k.box(k.Latest, context)
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce)
	return fmt.Sprintf("vault:v%d:%s", k.Latest, base64.StdEncoding.EncodeToString(box.Seal(nonce, nonce, key, nil)))
}

func (k *fakeKEK) decrypt(context []byte, ciphertext string) (key []byte, fault string) {
	head, text, _ := strings.Cut(strings.TrimPrefix(ciphertext, "vault:v"), ":")
	version, _ := strconv.Atoi(head)
	raw, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil || len(raw) < 12 || version < 1 || version > k.Latest:
		return nil, "invalid ciphertext"
	case version < k.Opens:
		return nil, saysTooOld
	}
	box := k.box(version, context)
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
		want.Opens = 1
		want.rotate()
		v.keks[name] = &want
	}
	answer(w, 200, map[string]any{"data": v.keks[name]})
}

// change rotates, trims or configures a KEK.
func (v *fakeVault) change(w http.ResponseWriter, k *fakeKEK, how string, want fakeKEK) {
	bad := func(why string) { answer(w, 400, map[string]any{"errors": []string{why}}) }
	switch {
	case k == nil:
		bad("encryption key not found")
		return
	case how == "rotate":
		k.rotate()
	case how == "trim":
		if want.Kept > k.Opens || want.Kept > k.Encrypts {
			bad("minimum available version cannot be greater than minmum encryption version")
			return
		}
		for version := range k.roots {
			if version < want.Kept {
				delete(k.roots, version)
			}
		}
		k.Kept = want.Kept
	case how == "config":
		if want.Opens < k.Kept || want.Opens > k.Latest {
			bad("cannot set min decryption version")
			return
		}
		k.Opens, k.Encrypts = want.Opens, want.Encrypts
	}
	answer(w, 200, map[string]any{"data": k})
}

// box is the AEAD under the key that context derives.
func (k *fakeKEK) box(version int, context []byte) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, k.roots[version], nil, string(context), 32)
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
