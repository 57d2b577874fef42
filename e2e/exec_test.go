package e2e_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/link"
)

// scripted is two links between two sites. The nodes of one are scripts, those
// of the other are simulated.
const scripted = `
apiVersion: keyorch/v1
kind: Site
metadata: {name: east}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: west}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: east-gear}
spec: {site: east, device: {kind: exec, command: ["$GEAR", "$GEARS/east"], timeout: 1s}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: west-gear}
spec: {site: west, device: {kind: exec, command: ["$GEAR", "$GEARS/west"], timeout: 1s}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: east-sim}
spec: {site: east, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: west-sim}
spec: {site: west, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: quick}
spec: {drain: 200ms}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: scripts}
spec: {upstream: [east-gear], downstream: [west-gear], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: simulated}
spec: {upstream: [east-sim], downstream: [west-sim], policy: quick}
`

// scriptedWorld is the two links on their first keys, and the folder in which the
// scripts keep theirs.
func scriptedWorld(t *testing.T) (w *world, gears string) {
	w = newWorld(t)
	gear, err := filepath.Abs("testdata/gear.sh")
	must(t, err)
	gears = t.TempDir()
	for _, side := range []string{"east", "west"} {
		must(t, os.Mkdir(filepath.Join(gears, side), 0o700))
	}
	t.Setenv("GEAR", gear)
	t.Setenv("GEARS", gears)
	w.declare(scripted)
	w.staff()
	w.rotate(0, "--all")
	return w, gears
}

func TestAScriptIsADevice(t *testing.T) {
	w, gears := scriptedWorld(t)
	w.rotate(0, "--all")
	w.settled("scripts", 2)
	sends, err := os.ReadFile(filepath.Join(gears, "east", "scripts", "upstream", "sends"))
	must(t, err)
	want := `{"epoch":2,"kcv":"` + string(w.record("scripts").State.To.KCV) + `"}`
	if string(sends) != want {
		t.Errorf("the sending script is left with %s, want %s", sends, want)
	}
	accepts, err := os.ReadDir(filepath.Join(gears, "west", "scripts", "downstream", "accepts"))
	must(t, err)
	if len(accepts) != 1 || accepts[0].Name() != "2" {
		t.Errorf("the accepting script is left with %v, want only epoch 2", accepts)
	}
}

func TestTroubleOfAScriptHoldsItsLinkOnly(t *testing.T) {
	w, gears := scriptedWorld(t)
	trouble := filepath.Join(gears, "west", "trouble")
	for _, c := range []struct{ trouble, reason string }{
		{"hang", "did not finish"},
		{"garbage", "JSON"},
		{"megabyte", "more than"},
		{"exit1", "the gear is busy"},
		{"exit10", "the gear does not know this link"},
		{"kcv", "KCV"},
	} {
		w.run(c.trouble, func(t *testing.T) {
			before := w.record("scripts").State
			must(t, os.WriteFile(trouble, []byte(c.trouble), 0o600))
			r := w.rotate(4, "--all", "--timeout", "6s")
			held := result(t, r, "scripts")
			if held.Outcome != link.Held || !strings.Contains(held.Reason, c.reason) || !strings.Contains(held.Reason, "west-gear") {
				t.Errorf("scripts: %+v, want it held with the node and %q in the reason", held, c.reason)
			}
			if got := result(t, r, "simulated"); got.Outcome != link.Rotated {
				t.Errorf("the other link: %+v", got)
			}
			if s := w.record("scripts").State; s.Sends().Epoch != before.To.Epoch {
				t.Errorf("the held link sends %v, want the old %v", s.Sends(), before.To)
			}
			must(t, os.Remove(trouble))
			if c.trouble == "exit10" || c.trouble == "kcv" { // for good: not tried again by itself
				w.keyorch(0, "abort", "scripts")
				w.settled("scripts", before.To.Epoch)
				w.rotate(0, "scripts")
			}
			w.settled("scripts", before.Highest+1)
		})
	}
}

var givenKey = regexp.MustCompile(`"key":"([A-Za-z0-9+/=]+)"`)

// keysGiven is every link key that a script was given.
func keysGiven(t *testing.T, gears, side string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(gears, side, "given"))
	must(t, err)
	var keys [][]byte
	for _, m := range givenKey.FindAllSubmatch(data, -1) {
		key, err := base64.StdEncoding.DecodeString(string(m[1]))
		must(t, err)
		keys = append(keys, key)
	}
	return keys
}
