// Package temporaltls tests how keyorch reaches a Temporal that wants to know who is
// there: TLS, client certificates, API keys, namespaces. The server is a real one.
package temporaltls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/server/common/config"

	"github.com/keyorch/keyorch/cmd/keyorch/cli"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/fault"
)

// apiKey is planted to be looked for in everything that is printed.
const apiKey = "tmprl-0123456789-planted-api-key"

// connected is what a verb says that Temporal has let in: next it leaves a record of
// itself, in an etcd that nobody has told it of.
const connected = "open etcd: no address is given"

// served is a Temporal with TLS.
type served struct {
	*authority
	address string
	guard   *guard
	system  pair
}

// serve starts a Temporal that speaks TLS, for 127.0.0.1 and temporal.test, and wants
// certificates of clients if mutual.
func serve(t *testing.T, mutual bool) served {
	t.Helper()
	s := served{authority: newAuthority(t, t.TempDir(), "ca"), guard: &guard{}}
	server := s.issue("server", time.Hour, "127.0.0.1", "temporal.test")
	s.system = s.issue("system", time.Hour)
	o := devstack.TemporalOptions{
		Authorizer: s.guard, Claims: s.guard,
		Configure: func(c *config.Config) {
			f := &c.Global.TLS.Frontend
			f.Server.CertFile, f.Server.KeyFile = server.cert, server.key
			f.Server.RequireClientAuth = mutual
			if mutual {
				f.Server.ClientCAFiles = []string{s.file()}
			}
			w := &c.Global.TLS.SystemWorker
			w.CertFile, w.KeyFile, w.Client.RootCAFiles, w.Client.ServerName = s.system.cert, s.system.key, []string{s.file()}, "temporal.test"
		},
		Dial: func(c *client.Options) { c.ConnectionOptions.TLS = s.trusts(t) },
	}
	var stop func() error
	var err error
	s.address, stop, err = devstack.StartTemporal(t.Context(), t.TempDir(), o)
	must(t, err)
	t.Cleanup(func() { _ = stop() })
	return s
}

// trusts is the system's own way in.
func (s served) trusts(t *testing.T) *tls.Config {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(s.system.cert, s.system.key)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(s.cert)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}
}

// keyorch runs a verb that asks Temporal before anybody else, in this environment.
func keyorch(t *testing.T, env map[string]string, args ...string) (code int, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	if _, ok := env["TEMPORAL_CONFIG_FILE"]; !ok {
		empty := filepath.Join(t.TempDir(), "empty.toml")
		must(t, os.WriteFile(empty, nil, 0o600))
		env["TEMPORAL_CONFIG_FILE"] = empty
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code = cli.Run(ctx, cli.Process{Args: args, In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(k string) string { return env[k] }})
	said = out.String() + errs.String()
	if strings.Contains(said, "planted") {
		t.Errorf("the API key was printed: %s", said)
	}
	return code, said
}

// with is the environment of a client of s with a certificate of its own.
func (s served) with(p pair, more ...string) map[string]string {
	env := map[string]string{"TEMPORAL_ADDRESS": s.address, "TEMPORAL_TLS_SERVER_CA_CERT_PATH": s.file()}
	if p.cert != "" {
		env["TEMPORAL_TLS_CLIENT_CERT_PATH"], env["TEMPORAL_TLS_CLIENT_KEY_PATH"] = p.cert, p.key
	}
	for _, m := range more {
		k, v, _ := strings.Cut(m, "=")
		env[k] = v
	}
	return env
}

func TestMutualTLS(t *testing.T) {
	s := serve(t, true)
	good := s.issue("keyorch-worker", time.Hour)
	expired := s.issue("expired", -time.Hour)
	open := s.issue("open", time.Hour)
	must(t, os.Chmod(open.key, 0o644))
	other := newAuthority(t, t.TempDir(), "other")
	foreign := other.issue("foreign", time.Hour)
	junk := filepath.Join(s.dir, "junk.crt")
	must(t, os.WriteFile(junk, []byte("not a certificate"), 0o600))
	none := filepath.Join(s.dir, "none")

	for name, c := range map[string]struct {
		env  map[string]string
		code int
		says string
	}{
		"all is well":           {s.with(good), 2, connected},
		"no TLS":                {map[string]string{"TEMPORAL_ADDRESS": s.address}, 2, "wants TLS: set TEMPORAL_TLS=true"},
		"no client certificate": {s.with(pair{}), 3, "refuses the client certificate, or wants one"},
		"another's certificate": {s.with(foreign), 3, "refuses the client certificate, or wants one"},
		"an expired one":        {s.with(expired), 3, "expired at "},
		"anybody may read it":   {s.with(open), 3, "chmod 600 " + open.key},
		"no key":                {s.with(good, "TEMPORAL_TLS_CLIENT_KEY_PATH="), 2, "go together, and one is missing"},
		"a file that is gone":   {s.with(good, "TEMPORAL_TLS_CLIENT_CERT_PATH="+none), 2, "there is no file " + none},
		"not its key":           {s.with(good, "TEMPORAL_TLS_CLIENT_KEY_PATH="+expired.key), 2, "does not fit the certificate"},
		"no certificate":        {s.with(good, "TEMPORAL_TLS_SERVER_CA_CERT_PATH="+junk), 2, junk + " holds no authorities in PEM"},
		"an unknown authority":  {s.with(good, "TEMPORAL_TLS_SERVER_CA_CERT_PATH="+other.file()), 3, "signed by an authority that is not known here"},
		"the system's":          {s.with(good, "TEMPORAL_TLS_SERVER_CA_CERT_PATH="), 3, "signed by an authority that is not known here"},
		"another name":          {s.with(good, "TEMPORAL_TLS_SERVER_NAME=wrong.test"), 3, "is not for the name wrong.test"},
		"a name of its own":     {s.with(good, "TEMPORAL_TLS_SERVER_NAME=temporal.test"), 2, connected},
		"no such namespace":     {s.with(good, "TEMPORAL_NAMESPACE=nowhere"), 2, "temporal operator namespace create --namespace nowhere"},
		"a malformed address":   {s.with(good, "TEMPORAL_ADDRESS=https://temporal.test:7233/"), 2, "is not HOST:PORT"},
		"no port":               {s.with(good, "TEMPORAL_ADDRESS=temporal.test"), 2, "is not HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := keyorch(t, c.env, "schedule", "delete", "nothing")
			if code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit %d, want %d: %s", code, c.code, said)
			}
		})
	}
}

// TestARenewedCertificateIsTaken replaces the files, has the connection cut, and looks
// whose certificate Temporal sees then; and does the same with the authority.
func TestARenewedCertificateIsTaken(t *testing.T) {
	s := serve(t, true)
	p := s.issue("first", time.Hour)
	front := newFront(t, s.address)
	temporal, err := wiring.ReadTemporal(lookup(s.with(p, "TEMPORAL_ADDRESS="+front.address())))
	must(t, err)
	c, err := temporal.Dial(t.Context(), slog.New(slog.DiscardHandler))
	must(t, err)
	defer c.Close()
	next := s.issue("second", time.Hour)
	must(t, os.Rename(next.key, p.key))
	must(t, os.Rename(next.cert, p.cert))
	front.cut()
	ask(t, c)
	if got := s.guard.names(); !slices.Contains(got, "first") || got[len(got)-1] != "second" && !slices.Contains(got, "second") {
		t.Errorf("temporal saw %v", got)
	}
}

func ask(t *testing.T, c client.Client) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := c.CheckHealth(t.Context(), nil)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it never connects again:", err)
		}
	}
}

func TestAPIKeys(t *testing.T) {
	s := serve(t, false)
	s.guard.wants(apiKey)
	file := filepath.Join(s.dir, "temporal.toml")
	must(t, os.WriteFile(file, []byte("[profile.cloud]\naddress = \""+s.address+"\"\napi_key = \""+apiKey+"\"\n[profile.cloud.tls]\nserver_ca_cert_path = \""+s.file()+"\"\n"), 0o600))
	broken := filepath.Join(s.dir, "broken.toml")
	must(t, os.WriteFile(broken, []byte("[profile.default]\napi_key = \""+apiKey+"\n"), 0o600))
	for name, c := range map[string]struct {
		env  map[string]string
		code int
		says string
	}{
		"the right one":     {s.with(pair{}, "TEMPORAL_API_KEY="+apiKey), 2, connected},
		"in a file":         {map[string]string{"TEMPORAL_CONFIG_FILE": file, "TEMPORAL_PROFILE": "cloud"}, 2, connected},
		"another profile":   {map[string]string{"TEMPORAL_CONFIG_FILE": file, "TEMPORAL_PROFILE": "lab"}, 2, `has no profile "lab"`},
		"a broken file":     {map[string]string{"TEMPORAL_CONFIG_FILE": broken}, 2, "the configuration file is malformed"},
		"no file":           {map[string]string{"TEMPORAL_CONFIG_FILE": file + ".gone"}, 2, "there is no "},
		"a wrong one":       {s.with(pair{}, "TEMPORAL_API_KEY=planted-too"), 3, "refuses the API key for namespace \"default\""},
		"none":              {s.with(pair{}), 3, "wants to know who is there: set TEMPORAL_API_KEY"},
		"no authority":      {s.with(pair{}, "TEMPORAL_API_KEY="+apiKey, "TEMPORAL_TLS_SERVER_CA_CERT_PATH="), 3, "signed by an authority that is not known here"},
		"in clear, far off": {map[string]string{"TEMPORAL_ADDRESS": "192.0.2.1:7233", "TEMPORAL_TLS": "false", "TEMPORAL_API_KEY": apiKey}, 2, "the API key would travel in clear"},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := keyorch(t, c.env, "schedule", "delete", "nothing")
			if code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit %d, want %d: %s", code, c.code, said)
			}
		})
	}
	t.Run("it is withdrawn", func(t *testing.T) {
		s.guard.wants("a newer one")
		if code, said := keyorch(t, s.with(pair{}, "TEMPORAL_API_KEY="+apiKey), "schedule", "delete", "nothing"); code != 3 {
			t.Errorf("exit %d: %s", code, said)
		}
	})
}

// TestAPlainServer is one without TLS, one that is no Temporal, and none at all.
func TestAPlainServer(t *testing.T) {
	address, stop, err := devstack.StartTemporal(t.Context(), t.TempDir(), devstack.TemporalOptions{})
	must(t, err)
	defer func() { _ = stop() }()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	gone := silent.Addr().String()
	must(t, silent.Close())
	for name, c := range map[string]struct {
		env  map[string]string
		code int
		says string
	}{
		"as before":        {map[string]string{"TEMPORAL_ADDRESS": address}, 2, connected},
		"TLS asked for":    {map[string]string{"TEMPORAL_ADDRESS": address, "TEMPORAL_TLS": "true"}, 2, "does not speak TLS: set TEMPORAL_TLS=false"},
		"with an API key":  {map[string]string{"TEMPORAL_ADDRESS": address, "TEMPORAL_API_KEY": apiKey}, 2, "does not speak TLS"},
		"away":             {map[string]string{"TEMPORAL_ADDRESS": gone}, 6, "does not answer"},
		"away, with TLS":   {map[string]string{"TEMPORAL_ADDRESS": gone, "TEMPORAL_TLS": "true"}, 6, "does not answer"},
		"no codec file":    {map[string]string{"TEMPORAL_ADDRESS": address, "KEYORCH_TEMPORAL_CODEC": "/nowhere/keys"}, 2, "there is no /nowhere/keys"},
		"a gRPC name":      {map[string]string{"TEMPORAL_ADDRESS": "passthrough:///" + address}, 2, connected},
		"an unknown host":  {map[string]string{"TEMPORAL_ADDRESS": "temporal.invalid:7233"}, 6, "temporal.invalid"},
		"another protocol": {map[string]string{"TEMPORAL_ADDRESS": "http://" + address}, 2, "is not HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := keyorch(t, c.env, "schedule", "delete", "nothing")
			if code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit %d, want %d: %s", code, c.code, said)
			}
		})
	}
}

// TestANamespaceIsMade once, and says so only then.
func TestANamespaceIsMade(t *testing.T) {
	address, stop, err := devstack.StartTemporal(t.Context(), t.TempDir(), devstack.TemporalOptions{})
	must(t, err)
	defer func() { _ = stop() }()
	temporal := wiring.Temporal{Profile: envconfig.ClientConfigProfile{Address: address, Namespace: "keyorch"}}
	for _, c := range []struct{ dry, missing bool }{{true, true}, {false, true}, {true, false}, {false, false}} {
		if _, made, err := temporal.EnsureNamespace(t.Context(), 72*time.Hour, c.dry); err != nil || made != c.missing {
			t.Errorf("dry %v: missing %v, %v; want %v", c.dry, made, err, c.missing)
		}
	}
	c, err := temporal.Dial(t.Context(), slog.New(slog.DiscardHandler))
	must(t, err)
	c.Close()
	temporal.Profile.Address = "127.0.0.1:1"
	if _, _, err := temporal.EnsureNamespace(t.Context(), 72*time.Hour, false); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a server that is away: %v", err)
	}
}

// lookup is an environment for envconfig.
type lookup map[string]string

var _ envconfig.EnvLookup = lookup{}

func (l lookup) LookupEnv(k string) (string, bool) { v, ok := l[k]; return v, ok && v != "" }
func (l lookup) Environ() []string                 { return nil }
