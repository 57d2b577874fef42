package charttest

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// instruction is one of the Dockerfile, on one line.
type instruction struct{ name, args string }

// stages reads the Dockerfile: the instructions of each FROM.
func stages(t *testing.T) [][]instruction {
	t.Helper()
	text, err := os.ReadFile(product + "/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	all := [][]instruction{nil}
	joined := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(string(text), "")
	for line := range strings.SplitSeq(joined, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		if name == "FROM" {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], instruction{name, args})
	}
	if len(all) != 3 {
		t.Fatalf("the Dockerfile has %d stages", len(all)-1)
	}
	return all
}

func of(stage []instruction, name string) (all []string) {
	for _, i := range stage {
		if i.name == name {
			all = append(all, i.args)
		}
	}
	return all
}

// files is what the COPY lines of the last stage put where: path in the image, and
// where it is from.
func files(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, args := range of(stages(t)[2], "COPY") {
		words := strings.Fields(args)
		from := "context"
		if stage, ok := strings.CutPrefix(words[0], "--from="); ok {
			from, words = stage, words[1:]
		}
		to := words[len(words)-1]
		for _, w := range words[:len(words)-1] {
			dest := to
			if strings.HasSuffix(to, "/") {
				dest = to + path.Base(w)
			}
			all[dest] = from + ":" + w
		}
	}
	return all
}

func TestTheImageHasFourFilesAndNoRoot(t *testing.T) {
	last := stages(t)[2]
	want := map[string]string{
		"/etc/ssl/certs/ca-certificates.crt": "build:/etc/ssl/certs/ca-certificates.crt",
		"/usr/bin/keyorch":                   "build:/out/keyorch",
		"/usr/share/doc/keyorch/LICENSE":     "context:LICENSE", "/usr/share/doc/keyorch/NOTICE": "context:NOTICE",
	}
	if got := files(t); !maps.Equal(got, want) {
		t.Errorf("the image has %v, want %v", got, want)
	}
	for name, want := range map[string]string{"FROM": "scratch", "USER": "65532:65532", "ENTRYPOINT": `["/usr/bin/keyorch"]`, "ENV": "PATH=/usr/bin"} {
		if got := of(last, name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, never := range []string{"RUN", "ADD", "VOLUME", "EXPOSE", "SHELL", "CMD"} {
		if got := of(last, never); len(got) > 0 {
			t.Errorf("the image has %s %q", never, got)
		}
	}
	labels := strings.Join(of(last, "LABEL"), " ")
	for _, l := range []string{"title", "description", "source", "licenses", "version", "revision"} {
		if !regexp.MustCompile(`org\.opencontainers\.image\.` + l + `="[^"]+"`).MatchString(labels) {
			t.Errorf("the label %s is missing", l)
		}
	}
	// The compiler is that of go.mod, and can be pinned.
	mod, err := os.ReadFile(product + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)[1]
	if got := of(stages(t)[0], "ARG"); len(got) != 1 || !strings.HasPrefix(got[0], "GO_IMAGE=docker.io/library/golang:"+string(version)+".") {
		t.Errorf("the compiler is %q, and go.mod says %s", got, version)
	}
	if got := of(stages(t)[1], "FROM"); !slices.Equal(got, []string{"${GO_IMAGE} AS build"}) {
		t.Errorf("it is built from %q", got)
	}
}

// TestTheImageRunsFromAnEmptyRoot compiles with the Dockerfile's own command, and
// runs the result where there is nothing else, as the image's user.
func TestTheImageRunsFromAnEmptyRoot(t *testing.T) {
	root := t.TempDir()
	program := filepath.Join(root, "usr", "bin", "keyorch")
	compile(t, program)
	binary, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = binary.Close() }()
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %v", p.Type)
		}
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MB", info.Size()>>20)
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can change the root of a process")
		}
		t.Log("left out: running it, for only root can change the root of a process")
		return
	}
	for dir := root; ; dir = filepath.Dir(dir) { // the image's user finds its way
		if err := os.Chmod(dir, 0o755); err != nil || dir == filepath.Dir(root) {
			break
		}
	}
	run := func(args ...string) (string, int) {
		c := exec.CommandContext(t.Context(), "/usr/bin/keyorch", args...)
		c.Dir, c.Env = "/", []string{"PATH=/usr/bin"}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("keyorch %v does not run: %v", args, err)
		}
		return string(out), c.ProcessState.ExitCode()
	}
	if said, code := run("version"); code != 0 || !strings.Contains(said, "v9.8.7") {
		t.Errorf("keyorch version: %d, %q", code, said)
	}
	if said, code := run("worker"); code != 2 || !unconnected(said) {
		t.Errorf("keyorch worker: %d, %q", code, said)
	}
}

// compile runs the RUN line of the Dockerfile that makes the program, in the
// product's folder.
func compile(t *testing.T, program string) {
	t.Helper()
	runs := of(stages(t)[1], "RUN")
	line := runs[len(runs)-1]
	for _, must := range []string{"CGO_ENABLED=0", "-trimpath", "-o /out/keyorch ./cmd/keyorch"} {
		if !strings.Contains(line, must) {
			t.Fatalf("the Dockerfile compiles with %q", line)
		}
	}
	line = strings.NewReplacer("${TARGETOS}", "linux", "${TARGETARCH}", goarch(t), "${VERSION}", "v9.8.7", "/out/keyorch", program).Replace(line)
	c := exec.CommandContext(t.Context(), "sh", "-c", line)
	c.Dir = product
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

func goarch(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOARCH").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestTheContextHasTheProgramAndNothingElse applies .dockerignore as Docker does.
func TestTheContextHasTheProgramAndNothingElse(t *testing.T) {
	f, err := os.ReadFile(product + "/.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) bool {
		out, err := ignored.MatchesOrParentMatches(name)
		if err != nil {
			t.Fatal(err)
		}
		return !out
	}
	for _, name := range []string{
		".git/config", ".git", ".ci/run", "e2e/go.mod", "bin/keyorch", "deploy/helm/keyorch/values.yaml", "docs/README.md", "Dockerfile",
		"env.operator", "cmd/keyorch/.env", "identity/tls.key", "identity/ca.pem", "store/tls.crt", "custody/custody_test.go", "link/testdata/x.txt", "tls.key",
	} {
		if in(name) {
			t.Errorf("%s goes into the context", name)
		}
	}
	var sources, bytes int64
	err = filepath.WalkDir(product, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(product, file)
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() {
			if !in(name) && !strings.Contains(name, "/") {
				return fs.SkipDir
			}
			return nil
		}
		if in(name) {
			sources++
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d kB", sources, bytes>>10)
	for _, name := range needed(t) {
		if !in(name) {
			t.Errorf("%s is left out, and the program is made of it", name)
		}
	}
	for _, source := range files(t) {
		if name, ok := strings.CutPrefix(source, "context:"); ok && !in(name) {
			t.Errorf("%s is left out, and the image has it", name)
		}
	}
}

// needed is every file of this module that the program is compiled from.
func needed(t *testing.T) []string {
	t.Helper()
	const format = `{{if and .Module .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}`
	c := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", format, "./cmd/keyorch")
	c.Dir = product
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(product)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"go.mod", "go.sum"}
	for file := range strings.FieldsSeq(string(out)) {
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if len(names) < 100 {
		t.Fatalf("the program is made of %d files", len(names))
	}
	return names
}
