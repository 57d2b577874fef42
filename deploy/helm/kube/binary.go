package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
)

// Binary is the program of the module in the folder servers, which is next to this
// one. The first time it is compiled, which takes several minutes; after that it is
// in the user's cache, under the hash of what it was made from.
func Binary(ctx context.Context, servers string) (string, error) {
	hash := sha256.New()
	hash.Write([]byte(runtime.Version() + runtime.GOOS + runtime.GOARCH))
	var version string
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join(servers, name))
		if err != nil {
			return "", err
		}
		hash.Write(text)
		if m := regexp.MustCompile(`k8s\.io/kubernetes (v\S+)`).FindSubmatch(text); name == "go.mod" && m != nil {
			version = string(m[1])
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "keyorch-kube", version+"-"+hex.EncodeToString(hash.Sum(nil))[:16])
	made := filepath.Join(dir, "servers")
	if _, err := os.Stat(made); err == nil {
		return made, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	fresh := fmt.Sprintf("%s.%d", made, os.Getpid()) // two tests may build at once
	defer func() { _ = os.Remove(fresh) }()
	// Without its version it says that it is v0.0.0, and Helm refuses to install.
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion="+version, "-o", fresh, ".")
	build.Dir = servers
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the API server: %w\n%s", err, out)
	}
	return made, os.Rename(fresh, made)
}
