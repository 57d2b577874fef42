package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}

// copied is a copy of an identity directory, to be broken.
func (c *clinic) copied(dir string) string {
	c.t.Helper()
	to := filepath.Join(c.t.TempDir(), "identity")
	must(c.t, os.MkdirAll(to, 0o700))
	must(c.t, os.CopyFS(to, os.DirFS(dir)))
	must(c.t, os.Chmod(identity.Directory(to).Key(), 0o600))
	return to
}

// stranger is a directory with the authority of somebody else.
func (c *clinic) stranger() string {
	dir := identity.Directory(c.t.TempDir())
	identitytest.Write(c.t, dir.CA(), identitytest.NewAuthority(c.t).PEM())
	return string(dir)
}

// issue has the stack's own authority sign a certificate with a life of its own.
func (c *clinic) issue(dir identity.Directory, name string, from, to time.Time) error {
	tls := filepath.Join(c.Lab.Stack.Data, "tls")
	block, _ := pem.Decode(read(c.t, filepath.Join(tls, "ca.crt")))
	parent, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	block, _ = pem.Decode(read(c.t, filepath.Join(tls, "ca.key")))
	by, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if by, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, parent, &key.PublicKey, by)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	identitytest.Write(c.t, dir.Cert(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	identitytest.Write(c.t, dir.Key(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return nil
}

// root is Vault's own client with the token that may do everything.
func (w *world) root() *api.Client {
	w.t.Helper()
	conf := api.DefaultConfig()
	conf.Address = w.Lab.Stack.VaultAddress
	must(w.t, conf.ConfigureTLS(&api.TLSConfig{CACert: filepath.Join(w.Lab.Stack.Data, "tls", "ca.crt")}))
	client, err := api.NewClient(conf)
	must(w.t, err)
	client.SetToken(w.Lab.Stack.RootToken)
	return client
}

func (c *clinic) unseal() {
	c.t.Helper()
	var keys struct {
		UnsealKey []byte `json:"unseal_key"`
	}
	must(c.t, json.Unmarshal(read(c.t, filepath.Join(c.Lab.Stack.Data, "vault", "dev-keys.json")), &keys))
	_, err := c.root().Sys().UnsealWithContext(c.t.Context(), base64.StdEncoding.EncodeToString(keys.UnsealKey))
	must(c.t, err)
	c.until("vault is active again", func() bool {
		h, err := c.root().Sys().Health()
		return err == nil && !h.Sealed && !h.Standby
	})
}

// alike makes an output the same for every run, and shortens it: what is well is left
// out of one in which something is not.
func (c *clinic) alike(out string) string {
	s := c.Lab.Stack
	for from, to := range map[string]string{
		s.EtcdEndpoint: "https://etcd.example:2379", strings.Replace(s.EtcdEndpoint, "https", "http", 1): "http://etcd.example:2379",
		s.VaultAddress: "https://vault.example:8200", s.TemporalAddress: "temporal.example:7233",
	} {
		out = strings.ReplaceAll(out, from, to)
	}
	for _, r := range []struct{ from, to string }{
		{`/\S*/identity[^/ ]*/`, "/etc/keyorch/identity/"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "2026-12-01T12:00:00Z"},
		{`, for \d+ (days|hours|minutes|seconds)`, ", for 29 days"},
		{`good for \d+ (days|hours|minutes|seconds)`, "good for 1 hours"},
		{`version \S*\d\S*( is current)?$`, "version v0.1.0$1"},
	} {
		out = regexp.MustCompile("(?m)"+r.from).ReplaceAllString(out, r.to)
	}
	out = columns(out)
	if !strings.Contains(out, "FAIL") && !strings.Contains(out, "WARN") {
		return out
	}
	var short []string
	for line := range strings.Lines(out) {
		if well := strings.HasPrefix(line, "  ok ") || strings.HasPrefix(line, "  -  "); !well {
			short = append(short, line)
		} else if short[len(short)-1] != "  …\n" {
			short = append(short, "  …\n")
		}
	}
	return strings.Join(short, "")
}

// columns puts the second column at the place that it has when the addresses are
// others.
func columns(out string) string {
	line := regexp.MustCompile(`^  (ok  |WARN|FAIL|-   )  (.*?)  +(.*)$`)
	mend := regexp.MustCompile(`^        +(mend: .*)$`)
	wide := 0
	for l := range strings.SplitSeq(out, "\n") {
		if m := line.FindStringSubmatch(l); m != nil {
			wide = max(wide, len(m[2]))
		}
	}
	pad := func(s string) string { return s + strings.Repeat(" ", wide-len(s)) }
	lines := strings.Split(out, "\n")
	for i, l := range lines {
		if m := line.FindStringSubmatch(l); m != nil {
			lines[i] = "  " + m[1] + "  " + pad(m[2]) + "  " + m[3]
		} else if m := mend.FindStringSubmatch(l); m != nil {
			lines[i] = "        " + pad("") + "  " + m[1]
		}
	}
	return strings.Join(lines, "\n")
}
