// Command fuzz runs every native fuzz target of the product for a while, a line
// each. It finds them by itself.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"time"
)

func main() {
	root := flag.String("C", "..", "the `directory` of the module")
	length := flag.Duration("time", 30*time.Second, "how long each target runs")
	abreast := flag.Int("abreast", 2, "how many targets run side by side, each on one core")
	only := flag.String("run", "", "targets whose PACKAGE.NAME matches this `pattern`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(2)
	}
	if err := run(ctx, *root, *length, *abreast, pattern); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// target is one fuzz target.
type target struct{ pkg, name string }

func run(ctx context.Context, root string, length time.Duration, abreast int, only *regexp.Regexp) error {
	targets, err := find(ctx, root, only)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("there is no target")
	}
	todo := make(chan target, len(targets))
	for _, t := range targets {
		todo <- t
	}
	close(todo)
	var mu sync.Mutex
	var failed []string
	var all sync.WaitGroup
	for range abreast {
		all.Go(func() {
			for t := range todo {
				line, out, err := fuzz(ctx, root, t, length)
				mu.Lock()
				fmt.Printf("%-44s %s\n", short(t.pkg)+"."+t.name, line)
				if err != nil {
					failed = append(failed, t.name)
					fmt.Fprintf(os.Stderr, "%s\n", out)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d targets failed: %s: the input is in testdata/fuzz of the package", len(failed), len(targets), strings.Join(failed, ", "))
	}
	fmt.Printf("%d passed, 0 failed\n", len(targets))
	return nil
}

// find lists the targets of all packages, by their sources: to ask the test binaries
// would build all of them first.
func find(ctx context.Context, root string, only *regexp.Regexp) ([]target, error) {
	list := exec.CommandContext(ctx, "go", "list", "-f", "{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}\n{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}\n{{end}}", "./...")
	list.Dir, list.Stderr = root, os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var targets []target
	for line := range strings.Lines(string(out)) {
		pkg, file, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range declaration.FindAllSubmatch(source, -1) {
			if only.MatchString(short(pkg) + "." + string(m[1])) {
				targets = append(targets, target{pkg, string(m[1])})
			}
		}
	}
	return targets, nil
}

// declaration is a fuzz target in gofmt's form.
var declaration = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\) \{`)

// progress is the last line that a target prints of how far it is.
var progress = regexp.MustCompile(`execs: (\d+) \([^)]*\), new interesting: (\d+) \(total: (\d+)\)`)

// deadline is how the go command ends now and then although nothing was found: its
// time was over while it waited for an input to be run.
var deadline = []byte("context deadline exceeded")

// fuzz runs one target, and again when it only ran out of time. Inputs are made
// smaller for a moment only: large ones would take up all of the time.
func fuzz(ctx context.Context, root string, t target, length time.Duration) (line string, out []byte, err error) {
	var found [][][]byte
	for range 2 {
		c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", length.String(), "-fuzzminimizetime", "20x", "-parallel", "1", t.pkg)
		c.Dir = root
		out, err = c.CombinedOutput()
		found = progress.FindAllSubmatch(out, -1)
		late := err != nil && bytes.Contains(out, deadline) && !bytes.Contains(out, []byte("Failing input"))
		if busy := err == nil && found == nil; !late && !busy {
			break
		}
		length *= 2 // the machine has other things to do: it did not get through the seeds
	}
	switch {
	case err != nil:
		return "FAILED", out, err
	case found == nil:
		return "FAILED: it ran nothing", out, errors.New("nothing ran")
	}
	last := found[len(found)-1]
	return fmt.Sprintf("%9s executions, %4s new interesting, %5s in all", last[1], last[2], last[3]), out, nil
}

// short is the path of a package within its module.
func short(pkg string) string {
	if parts := strings.SplitN(pkg, "/", 4); len(parts) == 4 {
		return parts[3]
	}
	return pkg
}
