package custody

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

const (
	link  = keychain.LinkID("dc1-dc2")
	kek   = "keyorch-site-dc2"
	token = "hvs.canary-token-7f3a"
)

var sites = []keychain.SiteID{"dc2"}

// ready is a Vault with the KEK of dc2 and the three identities.
func ready(t *testing.T) (v *fakeVault, worker, agent *Custody) {
	t.Helper()
	v = newVault(t)
	operator := v.as(t, "operator", OperatorPolicy("transit"))
	if err := operator.EnsureKEK(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	return v, v.as(t, token, WorkerPolicy("transit")), v.as(t, token+"-agent", AgentPolicy("transit", []string{kek}))
}

func wantKind(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(fmt.Sprint(err), text) {
		t.Fatalf("got %v (%v), want %v with %q", err, fault.Of(err), kind, text)
	}
}

func TestMintedKeyOpensForItsLinkAndEpochOnly(t *testing.T) {
	v, worker, agent := ready(t)
	w, err := worker.Mint(t.Context(), link, 4, sites)
	if err != nil {
		t.Fatal(err)
	}
	key, err := agent.Unwrap(t.Context(), link, 4, w)
	if err != nil {
		t.Fatal(err)
	}
	if !key.Equal(secret.New(bytes.Clone(v.lastMinted()))) {
		t.Fatal("the opened key is not the minted one")
	}
	_, err = agent.Unwrap(t.Context(), link, 5, w)
	wantKind(t, err, fault.Mismatch, "epoch 5 of dc1-dc2")
	_, err = agent.Unwrap(t.Context(), "dc1-dc3", 4, w)
	wantKind(t, err, fault.Mismatch, "epoch 4 of dc1-dc3")
	again, err := worker.Mint(t.Context(), link, 4, sites)
	if err != nil || again == w {
		t.Fatalf("minting again gave %v, %v; want another key", again == w, err)
	}
}

func TestWorkerOpensNothing(t *testing.T) {
	_, worker, agent := ready(t)
	w, err := worker.Mint(t.Context(), link, 4, sites)
	if err != nil {
		t.Fatal(err)
	}
	_, err = worker.Unwrap(t.Context(), link, 4, w)
	wantKind(t, err, fault.Refused, "vault refuses decrypt under keyorch-site-dc2: the token's policy does not allow it")
	_, err = agent.Mint(t.Context(), link, 4, sites)
	wantKind(t, err, fault.Refused, "vault refuses datakey/wrapped under keyorch-site-dc2")
	wantKind(t, worker.EnsureKEK(t.Context(), kek), fault.Refused, "reading key keyorch-site-dc2")
	wantKind(t, agent.WritePolicy(t.Context(), "keyorch-agent-dc2", ""), fault.Refused, "writing policy keyorch-agent-dc2")
}

func TestAgentOpensOnlyWhatItsPolicyNames(t *testing.T) {
	v, worker, _ := ready(t)
	other := v.as(t, "other", AgentPolicy("transit", []string{"keyorch-site-dc3"}))
	w, err := worker.Mint(t.Context(), link, 4, sites)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Unwrap(t.Context(), link, 4, w)
	wantKind(t, err, fault.Refused, "decrypt under keyorch-site-dc2")
	// Teeth: the same token with the wider policy does open it.
	wider := v.as(t, "other", AgentPolicy("transit", []string{"keyorch-site-dc3", kek}))
	if _, err := wider.Unwrap(t.Context(), link, 4, w); err != nil {
		t.Fatal(err)
	}
}

func TestKEKIsCreatedOnceAndChecked(t *testing.T) {
	v := newVault(t)
	operator := v.as(t, "operator", OperatorPolicy("transit"))
	for range 2 {
		if err := operator.EnsureKEK(t.Context(), kek); err != nil {
			t.Fatal(err)
		}
	}
	if k := v.keks[kek]; !k.Derived || k.Exportable || k.Type != "aes256-gcm96" {
		t.Fatalf("created %+v", k)
	}
	for name, bad := range map[string]fakeKEK{
		"not derived":  {Type: "aes256-gcm96"},
		"exported":     {Type: "aes256-gcm96", Derived: true, Exportable: true},
		"not of type ": {Type: "chacha20-poly1305", Derived: true},
	} {
		v.keks["keyorch-site-dc9"] = &bad
		wantKind(t, operator.EnsureKEK(t.Context(), "keyorch-site-dc9"), fault.Refused, name)
	}
	for _, name := range []string{"", "root", "keyorch-site-", "keyorch-site-a/../b", "keyorch-site-a/config", "keyorch-sites-a", "keyorch-sites-b.a", "keyorch-sites-a.a",
		"keyorch-sites-a.b.c", "keyorch-sites-a./b"} {
		wantKind(t, operator.EnsureKEK(t.Context(), name), fault.Invalid, "not one of keyorch's")
	}
	if err := operator.WritePolicy(t.Context(), AgentPolicyName("dc2"), AgentPolicy("transit", []string{kek})); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(v.acl["keyorch-agent.dc2"], "transit/decrypt/"+kek) {
		t.Fatalf("wrote %v", v.acl)
	}
	wantKind(t, operator.WritePolicy(t.Context(), "../root", "x"), fault.Invalid, "name")
}

func TestNamesOfKEKs(t *testing.T) {
	for _, c := range []struct {
		sites []keychain.SiteID
		want  string
	}{
		{nil, ""},
		{[]keychain.SiteID{"dc2"}, "keyorch-site-dc2"},
		{[]keychain.SiteID{"dc2", "dc2"}, "keyorch-site-dc2"},
		{[]keychain.SiteID{"dc3", "dc2"}, "keyorch-sites-dc2.dc3"},
		{[]keychain.SiteID{"dc2", "dc3", "dc2"}, "keyorch-sites-dc2.dc3"},
		{[]keychain.SiteID{"dc3", "dc2", "dc1"}, "keyorch-link-dc1-dc2"},
	} {
		if got := KEK(link, c.sites); got != c.want {
			t.Errorf("KEK(%v) = %q, want %q", c.sites, got, c.want)
		}
	}
}

func TestMalformedNamesNeverReachVault(t *testing.T) {
	v, worker, agent := ready(t)
	v.setBefore(func(http.ResponseWriter, *http.Request) bool {
		t.Error("vault was asked")
		return false
	})
	for _, c := range []struct {
		link  keychain.LinkID
		epoch keychain.Epoch
		sites []keychain.SiteID
	}{{"Dc/1", 1, sites}, {link, 0, sites}, {link, 1, nil}, {link, 1, []keychain.SiteID{"../x"}}} {
		_, err := worker.Mint(t.Context(), c.link, c.epoch, c.sites)
		wantKind(t, err, fault.Invalid, "mint a key of")
	}
	_, err := agent.Unwrap(t.Context(), link, 1, keychain.Wrapped{KEK: "../../sys/seal"})
	wantKind(t, err, fault.Invalid, "not one of keyorch's")
}

func TestOpenRefusesAMalformedAddress(t *testing.T) {
	newVault(t)
	for _, address := range []string{"127.0.0.1:8200", "ftp://x", "http://", "http://u:hunter2@%zz", "://"} {
		_, err := Open(Config{Address: address})
		wantKind(t, err, fault.Invalid, "https://vault.example:8200")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	t.Setenv("VAULT_ADDR", "http://u:hunter2@127.0.0.1:1")
	c, err := Open(Config{})
	if err != nil || c.Address() != "http://127.0.0.1:1" {
		t.Fatalf("got %v, %v; want the address of the environment without its password", c, err)
	}
}

func TestPing(t *testing.T) {
	v, worker, _ := ready(t)
	if err := worker.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.mu.Lock()
	v.sealed = true
	v.mu.Unlock()
	wantKind(t, worker.Ping(t.Context()), fault.Unavailable, v.URL+": it is sealed")
	v.Close()
	wantKind(t, worker.Ping(t.Context()), fault.Unavailable, "reach vault at "+v.URL)
}

func TestWrongSizeIsMismatch(t *testing.T) {
	v, worker, agent := ready(t)
	v.size = 16
	w, err := worker.Mint(t.Context(), link, 4, sites)
	if err != nil {
		t.Fatal(err)
	}
	_, err = agent.Unwrap(t.Context(), link, 4, w)
	wantKind(t, err, fault.Mismatch, "it holds 16 bytes")
	checkCanary(t, err, v.lastMinted())
}

// forms are the ways in which a key may show itself in a text.
func forms(key []byte) []string {
	return []string{string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key),
		base64.RawURLEncoding.EncodeToString(key), fmt.Sprint(key)}
}

func leaks(text string, key []byte) bool {
	for _, form := range append(forms(key), token) {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func checkCanary(t *testing.T, err error, key []byte) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		if leaks(e.Error(), key) || leaks(fmt.Sprintf("%+v %#v", e, e), key) {
			t.Errorf("an error shows the key or the token: %T", e)
		}
	}
}

func TestTroubleIsNamedByKindAndShowsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string // %s is the key in base64
		kind   fault.Kind
		text   string
	}{
		"a bad request":             {400, `{"errors":["no: %s"]}`, fault.Mismatch, "not of this link and epoch"},
		"a refusal":                 {403, `{"errors":["no: %s"]}`, fault.Refused, "policy does not allow it"},
		"a refusal without JSON":    {403, `<b>%s</b>`, fault.Refused, "policy does not allow it"},
		"no such mount":             {404, `{"errors":["no handler for %s"]}`, fault.Refused, "nothing at transit/decrypt"},
		"no such KEK":               {400, `{"errors":["encryption key not found"]}`, fault.Refused, "no key of that name"},
		"a strange status":          {418, `%s`, fault.Invalid, "status 418"},
		"too many requests":         {429, `%s`, fault.Unavailable, "too busy"},
		"a server's own failure":    {500, `%s`, fault.Unavailable, "status 500"},
		"a sealed server":           {503, `%s`, fault.Unavailable, "sealed"},
		"an answer that is no JSON": {200, `%s`, fault.Unavailable, "does not speak like Vault"},
		"an answer cut short":       {200, `{"data":{"plaintext":"%s`, fault.Unavailable, "does not speak like Vault"},
		"a key that is no base64":   {200, `{"data":{"plaintext":"%s!"}}`, fault.Unavailable, "does not speak like Vault"},
		"an answer without a key":   {200, `{"data":null}`, fault.Mismatch, "holds 0 bytes"},
		"an answer without an end":  {200, strings.Repeat(" ", 3<<20) + `{}`, fault.Unavailable, "no usable answer"},
	} {
		t.Run(name, func(t *testing.T) {
			v, worker, agent := ready(t)
			w, err := worker.Mint(t.Context(), link, 4, sites)
			if err != nil {
				t.Fatal(err)
			}
			v.setBefore(func(rw http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/lookup-self") {
					return false
				}
				rw.WriteHeader(c.status)
				_, _ = rw.Write([]byte(strings.ReplaceAll(c.body, "%s", base64.StdEncoding.EncodeToString(v.lastMinted()))))
				return true
			})
			_, err = agent.Unwrap(t.Context(), link, 4, w)
			wantKind(t, err, c.kind, c.text)
			if c.kind == fault.Unavailable {
				wantKind(t, err, c.kind, v.URL)
			}
			checkCanary(t, err, v.lastMinted())
			if _, err = worker.Mint(t.Context(), link, 5, sites); err == nil {
				t.Error("minting succeeded all the same")
			}
			checkCanary(t, err, v.lastMinted())
		})
	}
}

func TestABrokenConnectionShowsNothing(t *testing.T) {
	v, worker, agent := ready(t)
	w, err := worker.Mint(t.Context(), link, 4, sites)
	if err != nil {
		t.Fatal(err)
	}
	v.setBefore(func(rw http.ResponseWriter, _ *http.Request) bool {
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return true
		}
		// A malformed status line, which net/http quotes in its error.
		fmt.Fprintf(conn, "%x\r\n\r\n", v.lastMinted())
		_ = conn.Close()
		return true
	})
	_, err = agent.Unwrap(t.Context(), link, 4, w)
	wantKind(t, err, fault.Unavailable, "no usable answer")
	checkCanary(t, err, v.lastMinted())
}

// hang gives no answer until the client has gone. A server notices that only
// when it has read the request.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestAHangEndsWithTheCaller(t *testing.T) {
	v, worker, _ := ready(t)
	ctx, cancel := context.WithCancel(t.Context())
	v.setBefore(func(_ http.ResponseWriter, r *http.Request) bool {
		cancel()
		hang(r)
		return true
	})
	_, err := worker.Mint(ctx, link, 4, sites)
	wantKind(t, err, fault.Unavailable, v.URL)
	if !fault.Ended(ctx, err) {
		t.Errorf("%v does not tell that the caller gave up", err)
	}
}

func TestAHangEndsByItself(t *testing.T) {
	v, _, _ := ready(t)
	t.Setenv("VAULT_CLIENT_TIMEOUT", "20ms")
	worker := v.as(t, token, WorkerPolicy("transit"))
	v.setBefore(func(_ http.ResponseWriter, r *http.Request) bool {
		hang(r)
		return true
	})
	_, err := worker.Mint(t.Context(), link, 4, sites)
	wantKind(t, err, fault.Unavailable, v.URL+": no answer")
	if fault.Ended(t.Context(), err) {
		t.Error("the caller had not ended")
	}
}

func TestTheCanaryCheckCanFail(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	for _, form := range append(forms(key), token) {
		if !leaks("vault says: "+form, key) {
			t.Errorf("a planted %q was not found", form)
		}
	}
	if leaks("vault says nothing", key) {
		t.Error("found what is not there")
	}
}

func TestKCV(t *testing.T) {
	key := secret.New(bytes.Repeat([]byte{7}, secret.Size))
	kcv, err := KCV(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keychain.ParseKCV(string(kcv)); err != nil {
		t.Fatal(err)
	}
	_, err = KCV(secret.Key{})
	wantKind(t, err, fault.Invalid, "check a key")
}
