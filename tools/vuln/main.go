// Command vuln looks for known vulnerabilities in what the product and its tests are
// built from, with govulncheck and a copy of the Go vulnerability database that the
// module proxy serves. Each finding is explained in docs/security/vulnerabilities.md,
// with a date until which the explanation holds, or the command fails.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/vuln/scan"
)

// The database is a version of its module. It is pinned with its sum, so that two
// runs of the same commit know of the same vulnerabilities.
const (
	database = "golang.org/x/vulndb@v0.0.0-20261105234957-e22db6528018"
	sum      = "h1:mfngRv0Yoh0VApsXKEN82CjD99kl7mtparN3bs3JnqI="
)

// part is a Go module of the repository.
type part struct {
	name, dir string
	args      []string
}

// parts are scanned. Of the product it is looked at which symbols are reached; the
// modules of the tests hold servers of many megabytes, and what they import is enough.
func parts() []part {
	return []part{
		{"product", ".", []string{"-scan", "symbol"}},
		{"e2e", "e2e", []string{"-scan", "package", "-test", "-tags", "devices"}},
		{"charttest", "deploy/helm/charttest", []string{"-scan", "package", "-test"}},
	}
}

func main() {
	root := flag.String("C", "../..", "the `directory` of the repository")
	flag.Parse()
	if err := run(context.Background(), *root, os.Stdout, time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, out io.Writer, now time.Time) error {
	text, err := os.ReadFile(filepath.Join(root, "docs/security/vulnerabilities.md"))
	if err != nil {
		return err
	}
	known, err := parseKnown(string(text))
	if err != nil {
		return err
	}
	db, err := fetch(ctx)
	if err != nil {
		return err
	}
	var bad []string
	for _, p := range parts() {
		found, err := look(ctx, root, p, db)
		if err != nil {
			return fmt.Errorf("scan %s: %w", p.name, err)
		}
		fmt.Fprintf(out, "%s: %d findings\n", p.name, len(found))
		bad = append(bad, known.judge(p.name, found, now)...)
	}
	for _, line := range bad {
		fmt.Fprintln(out, line)
	}
	if len(bad) > 0 {
		return errors.New("mend these with a newer version, or explain them in docs/security/vulnerabilities.md")
	}
	return nil
}

// fetch gives the folder of the database.
func fetch(ctx context.Context) (string, error) {
	c := exec.CommandContext(ctx, "go", "mod", "download", "-json", database)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w", database, err)
	}
	var m struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", err
	}
	if m.Sum != sum {
		return "", fmt.Errorf("%s has the sum %s, not %s", database, m.Sum, sum)
	}
	return filepath.Join(m.Dir, "data", "osv"), nil
}

// finding is one vulnerability in one part.
type finding struct{ id, summary, module, version, fixed, symbol string }

func (f finding) String() string {
	s := fmt.Sprintf("%s: %s: in %s %s", f.id, f.summary, f.module, f.version)
	if f.symbol != "" {
		s += ", reached at " + f.symbol
	}
	if f.fixed != "" {
		return s + ", mended in " + f.fixed
	}
	return s + ", not mended in any version"
}

// look runs govulncheck over one part. What is only required, and not imported, is no
// finding.
func look(ctx context.Context, root string, p part, db string) (map[string]finding, error) {
	dir, err := filepath.Abs(filepath.Join(root, p.dir))
	if err != nil {
		return nil, err
	}
	args := append([]string{"-C", dir, "-format", "json", "-db", "file://" + filepath.ToSlash(db)}, p.args...)
	c := scan.Command(ctx, append(args, "./...")...)
	var said, complaints bytes.Buffer
	c.Stdout, c.Stderr = &said, &complaints
	if err := c.Start(); err != nil {
		return nil, err
	}
	if err := c.Wait(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, complaints.String())
	}
	return read(&said)
}

// message is what matters here of a message of govulncheck.
type message struct {
	Config *struct{}
	OSV    *struct{ ID, Summary string }

	Finding *struct {
		OSV          string
		FixedVersion string `json:"fixed_version"`
		Trace        []struct{ Module, Version, Package, Function, Receiver string }
	}
}

// read gathers what govulncheck says, by id.
func read(in io.Reader) (map[string]finding, error) {
	found := make(map[string]finding)
	summaries := make(map[string]string)
	sawConfig := false
	for dec := json.NewDecoder(in); ; {
		var m message
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		sawConfig = sawConfig || m.Config != nil
		if m.OSV != nil {
			summaries[m.OSV.ID] = m.OSV.Summary
		}
		if m.Finding == nil || len(m.Finding.Trace) == 0 || m.Finding.Trace[0].Package == "" {
			continue
		}
		at := m.Finding.Trace[0]
		f := finding{id: m.Finding.OSV, module: at.Module, version: at.Version, fixed: m.Finding.FixedVersion}
		if at.Function != "" {
			f.symbol = at.Package + "." + at.Function
		}
		if old, ok := found[f.id]; !ok || old.symbol == "" {
			found[f.id] = f
		}
	}
	if !sawConfig {
		return nil, errors.New("govulncheck said nothing")
	}
	for id, f := range found {
		f.summary = summaries[id]
		found[id] = f
	}
	return found, nil
}

// explanation is one row of the page.
type explanation struct {
	parts []string
	until time.Time
}

// explained is every explanation, by id.
type explained map[string]explanation

// parseKnown reads the tables of the page: rows of "| IDs | parts | until | why |".
func parseKnown(page string) (explained, error) {
	known := make(explained)
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| GO-") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 || len(strings.TrimSpace(cells[3])) < 20 {
			return nil, fmt.Errorf("a row has the ids, the parts, a date and a reason: %s", line)
		}
		until, err := time.Parse(time.DateOnly, strings.TrimSpace(cells[2]))
		if err != nil {
			return nil, fmt.Errorf("a row without a date: %s", line)
		}
		x := explanation{parts: words(cells[1]), until: until}
		for _, id := range words(cells[0]) {
			if _, twice := known[id]; twice {
				return nil, fmt.Errorf("%s is explained twice", id)
			}
			known[id] = x
		}
	}
	return known, nil
}

func words(cell string) []string {
	return strings.FieldsFunc(cell, func(r rune) bool { return r == ',' || r == ' ' })
}

// judge says what is not explained, or no longer.
func (k explained) judge(part string, found map[string]finding, now time.Time) (bad []string) {
	for _, id := range slices.Sorted(maps.Keys(found)) {
		x, ok := k[id]
		switch {
		case !ok || !slices.Contains(x.parts, part):
			bad = append(bad, fmt.Sprintf("%s: not explained: %s", part, found[id]))
		case now.After(x.until.AddDate(0, 0, 1)):
			bad = append(bad, fmt.Sprintf("%s: explained until %s: %s", part, x.until.Format(time.DateOnly), found[id]))
		}
	}
	return bad
}
