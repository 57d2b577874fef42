//go:build devices

package devices_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// deviceCheck runs `keyorch device check` on a program of docs/devices and wants
// every check to be passed.
func deviceCheck(t *testing.T, flags []string, program string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", "devices", program))
	if err != nil {
		t.Fatal(err)
	}
	said := proof.Shared(t).Verb(t, 0, append(append([]string{"device", "check"}, flags...), "--", path)...)
	t.Log(said.Out)
}

const knotConfig = `
server:
    rundir: %[1]s/run
    pidfile: %[1]s/run/knot.pid
    listen: 127.0.0.1@%[2]d
database:
    storage: %[1]s/db
remote:
  - id: keyorch-check
    address: 127.0.0.1@1
  - id: keyorch-check-b
    address: 127.0.0.1@1
acl:
  - id: keyorch-check
    address: 192.0.2.1
    action: transfer
  - id: keyorch-check-b
    address: 192.0.2.1
    action: transfer
`

func TestTheShellExampleOnRealKnot(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	testbed.Need(t, true, "knot", "openssl", "util-linux")
	dir := t.TempDir()
	for _, sub := range []string{"run", "db"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	config, database, socket := filepath.Join(dir, "knot.conf"), filepath.Join(dir, "confdb"), filepath.Join(dir, "run", "knot.sock")
	if err := os.WriteFile(config, fmt.Appendf(nil, knotConfig, dir, testbed.FreePort(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	here := testbed.Namespace{}
	here.Run(t, "knotc", "-C", database, "conf-import", config)
	here.Start(t, filepath.Join(dir, "log"), nil, "knotd", "-C", database)
	testbed.Until(t, 20*time.Second, "knotd answers", func() bool { _, err := os.Stat(socket); return err == nil })
	deviceCheck(t, []string{"--env", "KNOT_SOCKET=" + socket}, "gear-knot.sh")
}

const nginxConfig = `
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
    access_log off;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    server { listen 127.0.0.1:%[2]d ssl; include keys/keyorch-check.conf; return 200 "ok"; }
    server { listen 127.0.0.1:%[3]d ssl; include keys/keyorch-check-b.conf; return 200 "ok"; }
}
`

func TestThePythonExampleOnRealNginx(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	testbed.Need(t, true, "nginx-light", "openssl", "python3-minimal")
	dir := t.TempDir()
	keys, pid := filepath.Join(dir, "keys"), filepath.Join(dir, "nginx.pid")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		filepath.Join(dir, "nginx.conf"): fmt.Sprintf(nginxConfig, dir, testbed.FreePort(t), testbed.FreePort(t)),
		// nginx wants what it includes to be there.
		filepath.Join(keys, "keyorch-check.conf"): "", filepath.Join(keys, "keyorch-check-b.conf"): "",
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here := testbed.Namespace{}
	here.Run(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=check",
		"-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "cert.pem"))
	here.Start(t, filepath.Join(dir, "log"), nil, "nginx", "-p", dir, "-c", "nginx.conf", "-g", "daemon off;")
	testbed.Until(t, 20*time.Second, "nginx runs", func() bool { _, err := os.Stat(pid); return err == nil })
	params := fmt.Sprintf(`{"nginx":["nginx","-p",%q,"-c","nginx.conf"],"pid":%q}`, dir, pid)
	deviceCheck(t, []string{"--env", "NGINX_KEYS=" + keys, "--params", params}, "gear-nginx.py")
}
