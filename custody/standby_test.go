package custody

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keyorch/keyorch/fault"
)

// standby sends every request on to the active Vault, as one does that forwards
// nothing.
func standby(t *testing.T, active string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, active+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestARedirectedRequestArrivesWhole(t *testing.T) {
	v, _, _ := ready(t)
	at := standby(t, v.URL)
	worker, err := Open(Config{Address: at, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	agent, err := Open(Config{Address: at, Token: token + "-agent"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.Mint(t.Context(), link, 4, sites)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Unwrap(t.Context(), link, 4, w); err != nil {
		t.Fatal(err)
	}
	// Teeth: the client by itself loses the body, and so the context of the key.
	agent.client = agent.client.WithRequestCallbacks()
	_, err = agent.Unwrap(t.Context(), link, 4, w)
	wantKind(t, err, fault.Mismatch, "not of this link and epoch")
}
