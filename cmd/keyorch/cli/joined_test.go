package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/keyorch/keyorch/identity"
)

const joinedAs = `{"identity":{"role":"keyorch-agent","site":"dc2"},"etcd":{"endpoints":["https://a:2379","https://b:2379"]},
"vault":{"address":"https://v:8200","auth":"cert","mount":"cert","role":"keyorch-agent.dc2","pki":"keyorch-pki/sign/keyorch-agent.dc2"}}`

func TestTheEnvironmentComesBeforeTheIdentity(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "connection.json"), []byte(joinedAs), 0o600); err != nil {
		t.Fatal(err)
	}
	cert := filepath.Join(dir, "tls.crt")
	for name, c := range map[string]struct{ env, want map[string]string }{
		"nothing set": {nil, map[string]string{
			"ETCDCTL_ENDPOINTS": "https://a:2379,https://b:2379", "ETCDCTL_CERT": cert, "VAULT_ADDR": "https://v:8200", "VAULT_CACERT": "",
			"VAULT_CLIENT_CERT": cert, envAuth: "cert", envAuthRole: "keyorch-agent.dc2", envPKI: "keyorch-pki/sign/keyorch-agent.dc2", "HOME": "",
		}},
		"another certificate": {map[string]string{"ETCDCTL_CERT": "c"}, map[string]string{"ETCDCTL_CERT": "c", "ETCDCTL_KEY": ""}},
		"a token of one's own": {map[string]string{"VAULT_TOKEN": "t"}, map[string]string{
			"VAULT_TOKEN": "t", envAuth: "", envAuthRole: "", envPKI: "", "ETCDCTL_CERT": cert,
		}},
		"another way to log in": {map[string]string{envAuth: "kubernetes", envAuthRole: "r"}, map[string]string{envAuth: "kubernetes", envAuthMount: "", envAuthRole: "r"}},
	} {
		getenv, err := asJoined(func(n string) string { return c.env[n] }, identity.Directory(dir))
		if err != nil {
			t.Fatal(err)
		}
		for variable, want := range c.want {
			if got := getenv(variable); got != want {
				t.Errorf("%s: %s is %q, want %q", name, variable, got, want)
			}
		}
	}
}

func TestABrokenIdentityIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "connection.json"), []byte(`{"etcd":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := asJoined(os.Getenv, identity.Directory(dir)); err == nil || ExitCode(err) != exitInvalid {
		t.Errorf("%v", err)
	}
}
