package metrics

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
)

func TestABadAddressSaysWhatToDo(t *testing.T) {
	taken, err := Listen(t.Context(), "127.0.0.1:0", http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for address, c := range map[string]struct {
		kind fault.Kind
		says string
	}{
		"9090":               {fault.Invalid, "use HOST:PORT"},
		"":                   {fault.Invalid, "use HOST:PORT"},
		"localhost":          {fault.Invalid, "use HOST:PORT"},
		"localhost:":         {fault.Invalid, "is not a port"},
		":99999":             {fault.Invalid, "is not a port"},
		":-1":                {fault.Invalid, "is not a port"},
		":http":              {fault.Invalid, "is not a port"},
		"http://localhost:1": {fault.Invalid, "use HOST:PORT"},
		"192.0.2.1:9090":     {fault.Invalid, "no such address"},
		taken.Address():      {fault.Refused, "choose another"},
	} {
		s, err := Listen(t.Context(), address, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
		if err == nil {
			_ = s.Close()
		}
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v (%v), want %v that says %q", address, err, fault.Of(err), c.kind, c.says)
		}
	}
}

func TestTheServerHasTwoPagesAndEndsWithItsContext(t *testing.T) {
	s, err := Listen(t.Context(), "127.0.0.1:0", NewAgent([]string{"sim"}).Handler(complaining(t)), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	get := func(method, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Address()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := get(http.MethodGet, "/metrics"); code != http.StatusOK || !strings.Contains(body, "go_goroutines") {
		t.Errorf("/metrics: %d", code)
	}
	if code, body := get(http.MethodGet, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/x", "/healthz/"} {
		if code, _ := get(http.MethodGet, path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := get(http.MethodPost, "/metrics"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %d", code)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the server goes on after its context has ended")
	}
	again, err := Listen(t.Context(), s.Address(), http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal("the port was not given back:", err)
	}
	_ = again.Close()
}

func TestTheServerSaysWhenItsListenerBreaks(t *testing.T) {
	s, err := Listen(t.Context(), "127.0.0.1:0", http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if err := s.Run(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v, want Unavailable", err)
	}
}
