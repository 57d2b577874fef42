package guest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Host is the address of the host's loopback as the guest has it.
const Host = "10.0.2.2"

// HostEnv is the environment of a program of the host as the guest needs it: with
// the addresses of the host's loopback as they are in there, and with the files that
// it names, such as certificates, copied to the same paths.
func (g *Guest) HostEnv(t testing.TB, env []string) []string {
	t.Helper()
	there := strings.NewReplacer("127.0.0.1", Host, "localhost", Host)
	env = slices.Clone(env)
	for i, kv := range env {
		_, value, _ := strings.Cut(kv, "=")
		if info, err := os.Stat(value); err == nil && filepath.IsAbs(value) && info.Mode().IsRegular() {
			g.copyIn(t, value, info.Mode().Perm())
			continue
		}
		env[i] = there.Replace(kv)
	}
	return env
}

func (g *Guest) copyIn(t testing.TB, path string, mode fs.FileMode) {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	g.WriteFile(t, path, string(content), mode)
}
