package exec_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/keyorch/keyorch/devices/exec"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// fields is a device whose program is this test binary in one of its modes.
func fields(t *testing.T, mode, dir string) map[string]any {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"command": []any{self, "-test.run=^$"},
		// GORACE: under the race detector a process would linger for a second.
		"env": map[string]any{gearMode: mode, gearState: dir, "GORACE": "atexit_sleep_ms=0"},
	}
}

func open(t *testing.T, f map[string]any) *exec.Device {
	t.Helper()
	d, err := exec.New("n1", f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// next puts a fault into the way of the next operation.
func next(t *testing.T, dir, fault string) (clear func()) {
	file := filepath.Join(dir, "next")
	if err := os.WriteFile(file, []byte(fault), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(file) }
}

func matches(t *testing.T, dir, pattern string) []string {
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func wipe(t *testing.T, dir, pattern string) {
	for _, f := range matches(t, dir, pattern) {
		if err := os.RemoveAll(f); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConformance(t *testing.T) {
	for _, counterBound := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "counter-bound"}[counterBound]
		t.Run(name+" upstream", func(t *testing.T) {
			upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
				dir := t.TempDir()
				f := fields(t, "gear", dir)
				f["counterBound"] = counterBound
				return upstreamtest.Fixture{
					Device:   open(t, f).Upstream(),
					FailNext: func() { next(t, dir, "fail") },
					HangNext: func() func() { return next(t, dir, "hang") },
					LoseNext: func() { next(t, dir, "lose") },
					Reboot:   func() { wipe(t, dir, "keys-*") },
					Reused: func() int {
						if !counterBound {
							return 0
						}
						return len(matches(t, dir, "reused-*"))
					},
				}
			})
		})
	}
	t.Run("downstream", func(t *testing.T) {
		downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
			dir := t.TempDir()
			d := open(t, fields(t, "gear", dir))
			return downstreamtest.Fixture{
				Device:   d.Downstream(),
				FailNext: func() { next(t, dir, "fail") },
				HangNext: func() func() { return next(t, dir, "hang") },
				LoseNext: func() { next(t, dir, "lose") },
				Reboot:   func() { wipe(t, dir, "keys-*") },
				Send:     d.Upstream().Switch,
				Sends:    sends(d),
			}
		})
	})
}

// The program in the contract is run as it stands there.
func TestTheProgramOfTheContract(t *testing.T) {
	device := func(t *testing.T) (*exec.Device, string) {
		dir := t.TempDir()
		script, state := filepath.Join(dir, "gear.sh"), filepath.Join(dir, "state")
		if err := os.WriteFile(script, block(t, "sh"), 0o700); err != nil {
			t.Fatal(err)
		}
		return open(t, map[string]any{
			"command": []any{script, "n1"}, "survives": true,
			"env":    map[string]any{"GEAR_STATE": state},
			"params": map[string]any{"op": `"switch"`, "epoch": 99, "more": map[string]any{"kcv": "ffffffffff", "key": "no"}},
		}), state
	}
	t.Run("upstream", func(t *testing.T) {
		upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
			d, _ := device(t)
			return upstreamtest.Fixture{Device: d.Upstream(), Reboot: func() {}}
		})
	})
	t.Run("downstream", func(t *testing.T) {
		downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
			d, _ := device(t)
			return downstreamtest.Fixture{
				Device: d.Downstream(), Reboot: func() {}, Send: d.Upstream().Switch, Sends: sends(d),
			}
		})
	})
	t.Run("it gets the very key", func(t *testing.T) {
		d, state := device(t)
		sa, c := canary(t, 4)
		if err := d.Downstream().Install(t.Context(), sa, c.Key); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(state, string(sa.Link), "downstream", "4"))
		if err != nil || c.Find(b) != "base64" {
			t.Errorf("the key is not in its file (%v)", err)
		}
	})
}

func sends(d *exec.Device) func(context.Context, keychain.LinkID) (keychain.Ref, error) {
	return func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
		o, err := d.Upstream().Observe(ctx, link)
		return o.Sends, err
	}
}

// TestTheExampleIsTheContracts keeps the program that the example topology runs
// the same as the one that the contract shows and the suites test.
func TestTheExampleIsTheContracts(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "..", "examples", "gear.sh"))
	if err != nil || string(example) != string(block(t, "sh")) {
		t.Errorf("examples/gear.sh is not the program of docs/exec-contract.md (%v)", err)
	}
}

// block is the first code block of a language in the contract.
func block(t *testing.T, language string) []byte {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "exec-contract.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)\n```" + language + "\n(.*?)```\n").FindSubmatch(doc)
	if m == nil {
		t.Fatalf("the contract has no code block in %s", language)
	}
	return m[1]
}
