package cli

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestABadAddressToListenOnEndsAServerBeforeItConnects has no server to connect to:
// whoever gets further ends with another code.
func TestABadAddressToListenOnEndsAServerBeforeItConnects(t *testing.T) {
	var conf net.ListenConfig
	taken, err := conf.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, server := range [][]string{{"worker"}, {"agent", "--site", "dc1", "--state-dir", t.TempDir()}} {
		for address, want := range map[string]struct {
			code int
			says string
		}{
			"9090":                {exitInvalid, "use HOST:PORT"},
			"127.0.0.1:99999":     {exitInvalid, "is not a port"},
			taken.Addr().String(): {exitRefused, "another process has that port"},
			"127.0.0.1:0":         {exitInvalid, "VAULT_ADDR"},
			"":                    {exitInvalid, "VAULT_ADDR"},
		} {
			for flag, opens := range map[string]string{"--metrics-listen": "answering scrapes", "--health-listen": "answering probes"} {
				var out, errs bytes.Buffer
				code := Run(t.Context(), Process{Args: append(server[:len(server):len(server)], flag+"="+address),
					Out: &out, Err: &errs, Getenv: func(string) string { return "" }})
				if code != want.code || !strings.Contains(errs.String(), want.says) {
					t.Errorf("%s %s=%s: code %d, %q; want %d and %q", server[0], flag, address, code, errs.String(), want.code, want.says)
				}
				if opened := strings.Contains(errs.String(), opens); opened != (address == "127.0.0.1:0") {
					t.Errorf("%s %s=%s: it opened a port: %v", server[0], flag, address, opened)
				}
			}
		}
	}
}

func TestScrapesEndWhenTheServerStops(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	stop, err := answerScrapes(t.Context(), "127.0.0.1:0", http.NotFoundHandler(), log)
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(strings.TrimSpace(logged.String()), "address=")
	dial := func() error {
		var d net.Dialer
		c, err := d.DialContext(context.WithoutCancel(t.Context()), "tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Error("nobody answers:", err)
	}
	stop()
	if dial() == nil {
		t.Error("somebody answers still")
	}
}
