package e2e_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
)

// TestNoKeyIsLeftAnywhere rotates links whose keys a script was given, and then
// looks for those keys in everything that the servers and the processes wrote; and
// for the private keys and tokens of everybody, outside of the files that are theirs.
func TestNoKeyIsLeftAnywhere(t *testing.T) {
	w, gears := scriptedWorld(t)
	var printed bytes.Buffer
	for range 2 {
		said := w.keyorch(0, "rotate", "--all", "-o", "json")
		printed.WriteString(said.Out + said.Err)
	}
	for _, args := range [][]string{{"status", "-o", "json"}, {"why", "scripts"}, {"get", "links", "-o", "yaml"}} {
		said := w.keyorch(0, args...)
		printed.WriteString(said.Out + said.Err)
	}
	keys := append(keysGiven(t, gears, "west"), keysGiven(t, gears, "east")...)
	if len(keys) < 6 {
		t.Fatalf("the scripts were given %d keys, want at least 6", len(keys))
	}
	credentials, home := w.credentials()
	w.stopAll()
	must(t, w.Lab.Stack.Stop(t.Context())) // everything is on disk now
	must(t, os.WriteFile(filepath.Join(w.Lab.Dir, "printed.log"), printed.Bytes(), 0o600))

	forms := map[string][]byte{}
	for i, k := range keys {
		for name, form := range writings(k) {
			forms[fmt.Sprintf("key %d, %s", i, name)] = form
		}
	}
	for name, form := range credentials {
		forms[name] = form
	}
	files, found := find(t, w.Lab.Dir, forms)
	for _, f := range found {
		name, where, _ := strings.Cut(f, " in ")
		if credentials[name] == nil || !slices.ContainsFunc(home, func(h string) bool { return strings.HasPrefix(where, h) }) {
			t.Errorf("found %s", f)
		}
	}
	if at := strings.Join(found, "\n"); !strings.Contains(at, "in /data/identity/") || !strings.Contains(at, "in /data/env") {
		t.Errorf("credentials were not even found where they belong: %v", found)
	}
	for _, want := range []string{"etcd", "temporal", "vault", "worker.log", "agent-west.log", "printed.log"} {
		if !strings.Contains(strings.Join(files, "\n"), want) {
			t.Errorf("nothing of %s was searched in %v", want, files)
		}
	}
	t.Logf("%d keys of links, and the credentials of %d identities, were looked for in %d forms in %d files",
		len(keys), len(everybody), len(forms), len(files))

	// The search must be able to find, or it proves nothing.
	planting := writings(keys[0])
	for _, name := range []string{"token of root", "private key of agent.west, raw", "private key of agent.west, PEM"} {
		planting[name] = credentials[name]
	}
	for name, form := range planting {
		planted := filepath.Join(w.Lab.Dir, "data", "etcd", "planted")
		must(t, os.WriteFile(planted, amid(form), 0o600))
		if _, found := find(t, filepath.Dir(planted), forms); len(found) == 0 {
			t.Errorf("a planted key was not found: %s", name)
		}
		must(t, os.Remove(planted))
	}
}

// everybody is who has credentials in that world.
var everybody = []string{devstack.Root, devstack.Worker, devstack.Operator, devstack.Auditor, "agent.west", "agent.east"}

// credentials are the private keys and the Vault tokens of everybody, in the forms in
// which they could be written, and where they may be. They are taken from the
// environments of processes, as somebody would who has broken in.
func (w *world) credentials() (forms map[string][]byte, home []string) {
	w.t.Helper()
	must(w.t, w.Lab.Stack.WriteEnv(w.t.Context(), []keychain.SiteID{"west", "east"}))
	forms = map[string][]byte{}
	private := func(who, key string) {
		pair, err := tls.LoadX509KeyPair(strings.TrimSuffix(key, ".key")+".crt", key)
		must(w.t, err)
		scalar, err := pair.PrivateKey.(*ecdsa.PrivateKey).Bytes()
		must(w.t, err)
		forms["private key of "+who+", raw"] = scalar
		pem, err := os.ReadFile(key)
		must(w.t, err)
		forms["private key of "+who+", PEM"] = bytes.Split(pem, []byte("\n"))[2] // most of the scalar is in this line
	}
	for _, server := range []string{"ca", "server"} {
		private(server, filepath.Join(w.Lab.Dir, "data", "tls", server+".key"))
	}
	for _, who := range everybody {
		env, err := w.Lab.Stack.Env(w.t.Context(), who)
		must(w.t, err)
		for _, kv := range env {
			switch name, value, _ := strings.Cut(kv, "="); name {
			case "VAULT_TOKEN":
				forms["token of "+who] = []byte(value)
			case "ETCDCTL_KEY":
				private(who, value)
			}
		}
	}
	return forms, []string{"/data/identity/", "/data/tls/", "/data/env", "/data/vault/dev-"}
}

// amid hides b in the middle of something.
func amid(b []byte) []byte {
	return bytes.Join([][]byte{bytes.Repeat([]byte("x"), 100_001), b, []byte("y")}, nil)
}

// writings is how a key may be written. Base64 depends on where in its text the
// key begins, so there are three, without the characters that share bits with
// their neighbours.
func writings(key []byte) map[string][]byte {
	w := map[string][]byte{
		"raw": key,
		"hex": []byte(hex.EncodeToString(key)),
		"HEX": []byte(strings.ToUpper(hex.EncodeToString(key))),
	}
	for shift := range 3 {
		padded := append(make([]byte, shift), key...)
		whole := len(padded) / 3 * 3
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := enc.EncodeToString(padded[:whole])
			w[fmt.Sprintf("%s+%d", name, shift)] = []byte(text[(shift*8+5)/6:])
		}
	}
	return w
}

// find searches every file below dir for any of the forms.
func find(t *testing.T, dir string, forms map[string][]byte) (files, found []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, dir)
		files = append(files, rel)
		for name, form := range forms {
			if bytes.Contains(data, form) {
				found = append(found, name+" in "+rel)
			}
		}
		return nil
	}))
	return files, found
}
