package metrics

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/keyorch/keyorch/fault"
)

func TestProbesAnswerWhatTheyAreTold(t *testing.T) {
	var trouble error
	p := Probes{
		Live:  func(context.Context) error { return nil },
		Ready: func(ctx context.Context) error { return trouble },
	}
	s, err := ListenForProbes(t.Context(), "127.0.0.1:0", p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+path, nil)
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
	for _, path := range []string{"/livez", "/readyz"} {
		if code, said := get(path); code != http.StatusOK || said != "ok\n" {
			t.Errorf("%s: %d %q", path, code, said)
		}
	}
	trouble = fault.New(fault.Unavailable, "the worker is reading etcd")
	if code, said := get("/readyz"); code != http.StatusServiceUnavailable || said != "the worker is reading etcd\n" {
		t.Errorf("/readyz: %d %q", code, said)
	}
	if code, _ := get("/livez"); code != http.StatusOK {
		t.Errorf("/livez of a process that is not ready: %d", code)
	}
	if code, _ := get("/metrics"); code != http.StatusNotFound {
		t.Errorf("/metrics among the probes: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
