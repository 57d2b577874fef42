package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// metapackage is Debian's name for the newest cloud kernel of the release.
const metapackage = "linux-image-cloud-amd64"

// kernel is an extracted kernel package; it is never installed.
type kernel struct {
	root    string // of the extracted package: boot/, lib/modules/
	version string // "6.1.0-56-cloud-amd64"
}

func (k kernel) image() string { return filepath.Join(k.root, "boot", "vmlinuz-"+k.version) }

// cacheDir is where kernels are kept from one test to the next.
func cacheDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "keyorch-guest")
}

// fetchKernel gives the kernel, from the cache or from Debian. Where that fails the
// package lists may be missing, or older than what the mirror still has.
func fetchKernel(ctx context.Context) (kernel, error) {
	k, err := tryKernel(ctx)
	if err == nil {
		return k, nil
	}
	if _, failed := output(ctx, "", "apt-get", "update", "-qq"); failed != nil {
		return kernel{}, errors.Join(err, failed)
	}
	return tryKernel(ctx)
}

func tryKernel(ctx context.Context) (kernel, error) {
	out, err := output(ctx, "", "apt-cache", "depends", "--important", metapackage)
	if err != nil {
		return kernel{}, fmt.Errorf("find the cloud kernel: %w", err)
	}
	_, rest, _ := strings.Cut(out, "Depends: ")
	name, _, _ := strings.Cut(rest, "\n")
	k := kernel{root: filepath.Join(cacheDir(), name), version: strings.TrimPrefix(name, "linux-image-")}
	if name == "" || k.version == name {
		return kernel{}, fmt.Errorf("find the cloud kernel: apt-cache says %q", out)
	}
	if _, err := os.Stat(k.image()); err == nil {
		return k, nil
	}
	return k, download(ctx, k, name)
}

// download extracts the package beside its place and then renames it, so that
// what is in the cache is whole.
func download(ctx context.Context, k kernel, name string) error {
	if err := os.MkdirAll(cacheDir(), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cacheDir(), "new-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if _, err := output(ctx, tmp, "apt-get", "download", "-qq", name); err != nil {
		return fmt.Errorf("download %s: %w", name, err)
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return fmt.Errorf("download %s: apt-get left %d packages", name, len(debs))
	}
	for _, args := range [][]string{{"dpkg-deb", "-x", debs[0], "root"}, {"depmod", "-b", "root", k.version}} {
		if _, err := output(ctx, tmp, args...); err != nil {
			return fmt.Errorf("extract %s: %w", name, err)
		}
	}
	err = os.Rename(filepath.Join(tmp, "root"), k.root)
	if _, there := os.Stat(k.image()); there == nil {
		return nil // somebody else was faster
	}
	return err
}

// output runs a program of the host in dir.
func output(ctx context.Context, dir string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w", strings.Join(args, " "), err), errors.New(strings.TrimSpace(stderr.String())))
	}
	return stdout.String(), nil
}
