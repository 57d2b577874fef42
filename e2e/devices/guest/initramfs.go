package guest

import (
	"compress/gzip"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// initScript is the first process of the guest.
//
//go:embed init.sh
var initScript []byte

// modules are the kernel modules that the guest has, with what they depend on.
// Those that a kernel does not have, or has built in, are left out: a test that
// needs one says so in Options.Modules, and fails when it does not load.
var modules = strings.Fields(`
	virtio_pci virtio_net virtio_blk ext4 crc32c_generic af_packet veth dummy tun
	macsec xfrm_user xfrm_interface esp4 esp6 wireguard
	aes_generic aesni_intel ghash_generic ghash_clmulni_intel gf128mul gcm ccm ctr cbc cmac hmac
	seqiv echainiv drbg jitterentropy_rng authenc crypto_null
	sha256_generic sha512_generic chacha20poly1305`)

// tools are the programs of the host that the guest has, with their libraries.
var tools = []string{"ip", "ping", "wg", "dash"}

// makeInitramfs writes what the guest boots from: the tools, the modules and the
// first process. Programs of a test are not in it, they are on the disk.
func makeInitramfs(ctx context.Context, k kernel, file string) error {
	tree, err := os.MkdirTemp(filepath.Dir(file), "tree-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tree) }()
	for _, d := range strings.Fields("etc proc sys dev tmp run disk usr/bin usr/sbin usr/lib usr/lib64 usr/lib/busybox") {
		if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range strings.Fields("bin sbin lib lib64") { // as Debian has them
		if err := os.Symlink("usr/"+d, filepath.Join(tree, d)); err != nil {
			return err
		}
	}
	for _, tool := range append([]string{"busybox"}, tools...) {
		if err := addTool(ctx, tree, tool); err != nil {
			return err
		}
	}
	if err := addModules(ctx, k, tree); err != nil {
		return err
	}
	// testbed.Need asks dpkg-query for packages: what the guest has is in it.
	installed := []byte("#!/usr/bin/dash\nprintf installed\n")
	if err := os.WriteFile(filepath.Join(tree, "usr/bin/dpkg-query"), installed, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "init"), initScript, 0o755); err != nil {
		return err
	}
	return pack(ctx, tree, file)
}

// addTool copies a program of the host, and the libraries that it needs, to the
// same places in tree.
func addTool(ctx context.Context, tree, tool string) error {
	path, err := exec.LookPath(tool)
	if err != nil {
		return fmt.Errorf("put %s into the guest: %w", tool, err)
	}
	files := []string{path}
	libraries, _ := output(ctx, "", "ldd", path) // fails for a static program
	for _, word := range strings.Fields(libraries) {
		if strings.HasPrefix(word, "/") {
			files = append(files, word)
		}
	}
	for _, f := range files {
		if err := copyFile(f, filepath.Join(tree, f)); err != nil {
			return err
		}
	}
	return nil
}

func addModules(ctx context.Context, k kernel, tree string) error {
	for _, m := range modules {
		// A module that is missing or built in is no failure, see modules.
		out, _ := output(ctx, "", "modprobe", "-d", k.root, "-S", k.version, "--show-depends", m)
		for line := range strings.Lines(out) {
			words := strings.Fields(line) // "insmod FILE OPTION…", or "builtin NAME"
			if len(words) < 2 || words[0] != "insmod" {
				continue
			}
			rel, err := filepath.Rel(k.root, words[1])
			if err != nil {
				return err
			}
			if err := copyFile(words[1], filepath.Join(tree, rel)); err != nil {
				return err
			}
		}
	}
	for _, list := range []string{"modules.order", "modules.builtin", "modules.builtin.modinfo"} {
		at := filepath.Join("lib/modules", k.version, list)
		if err := copyFile(filepath.Join(k.root, at), filepath.Join(tree, at)); err != nil {
			return err
		}
	}
	_, err := output(ctx, "", "depmod", "-b", tree, k.version)
	return err
}

// pack makes the archive that the kernel unpacks.
func pack(ctx context.Context, tree, file string) error {
	list, err := output(ctx, tree, "find", ".")
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	cpio := exec.CommandContext(ctx, "cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet")
	cpio.Dir, cpio.Stdin, cpio.Stdout = tree, strings.NewReader(list), zip
	for _, step := range []func() error{cpio.Run, zip.Close, out.Close} {
		if err := step(); err != nil {
			return fmt.Errorf("pack the guest's files: %w", err)
		}
	}
	return nil
}

// copyFile copies what from leads to, with its mode, unless to is there.
func copyFile(from, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}
