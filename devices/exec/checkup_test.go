package exec_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/exec"
)

// checkup tries a program and gives what was found wrong with it, by check.
func checkup(t *testing.T, script string, sends, accepts bool) (wrong map[string]string, failed int) {
	t.Helper()
	dir := t.TempDir()
	timeout := "30s" // all mistakes are looked for at once
	if strings.Contains(script, "sleep 60") {
		timeout = "3s"
	}
	program := filepath.Join(dir, "gear.sh")
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	d := open(t, map[string]any{"command": []any{program}, "timeout": timeout, "env": map[string]any{"GEAR_STATE": filepath.Join(dir, "state")}})
	wrong = map[string]string{}
	passed := 0
	failed, _ = exec.Checkup{Device: d, Link: "keyorch-check", Sends: sends, Accepts: accepts, Tell: func(v exec.Verdict) {
		switch {
		case v.Err != nil:
			wrong[v.Check] = v.Err.Error()
		case !v.Skipped:
			passed++
		}
	}}.Run(t.Context())
	if passed == 0 {
		t.Error("no check was passed")
	}
	return wrong, failed
}

func TestGoodGearPassesTheCheckup(t *testing.T) {
	wrong, failed := checkup(t, string(block(t, "sh")), true, true)
	if failed != 0 || len(wrong) != 0 {
		t.Errorf("%d failed: %v", failed, wrong)
	}
}

// The checks that one role alone can find a mistake by.
const (
	downstreamOnly = `install accepts a key, and shows it with its KCV
installing an accepted key again is no error
another key under an accepted epoch is refused
install accepts a second key as well as the first
removing an epoch that is not there is no error
remove takes away its epoch and no other
the last key is not removed
observe shows what is accepted: nothing on a link without keys
fields that it does not know are left alone
links do not touch each other
an install that was killed in the middle can be repeated`
	upstreamOnly = `switch sends with a key, and shows it with its KCV
switching to the key in use is no error
switch goes back to the key before, as after an abort
no key bytes are in what it prints`
)

// TestTheCheckupFindsMistakes plants one mistake at a time in the program of the
// contract.
func TestTheCheckupFindsMistakes(t *testing.T) {
	for _, c := range []struct {
		mistake  string
		old, new string
		check    string // by which it must be found
		says     string // and in which words
	}{
		{"install takes the place of the old key", `printf '%s %s\n' "$kcv" "$(field key)" >"$dir/new"`,
			`rm -f "$dir"/[0-9]*; printf '%s %s\n' "$kcv" "$(field key)" >"$dir/new"`,
			"install accepts a second key as well as the first", "the gear shows that it accepts 2"},
		{"install switches", `mv "$dir/new" "$dir/$epoch"`,
			`mv "$dir/new" "$dir/$epoch"; mkdir -p "$dir/../upstream"; echo "$epoch $kcv k" >"$dir/../upstream/sends"`,
			"observe shows what is sent with: nothing on a link without keys", "it sends with"},
		{"install switches once something is sent", `mv "$dir/new" "$dir/$epoch"`,
			`mv "$dir/new" "$dir/$epoch"; [ ! -e "$dir/../upstream/sends" ] || echo "$epoch $kcv k" >"$dir/../upstream/sends"`,
			"installing a key changes nothing that is sent", "the gear shows that it sends with"},
		{"the KCV is made up", `list=$list${list:+,}'{"epoch":'${file##*/}',"kcv":"'$have'"}'`,
			`list=$list${list:+,}'{"epoch":'${file##*/}',"kcv":"0000000000"}'`,
			"install accepts a key, and shows it with its KCV", "0000000000"},
		{"installing again fails", `[ "$have" = "$kcv" ] || refuse "epoch $epoch is another key already"
	else
		# GEAR: accept`, `refuse "it is there"
	else
		# GEAR: accept`,
			"installing an accepted key again is no error", "it is there"},
		{"another key under an epoch is taken", `[ "$have" = "$kcv" ] || refuse "epoch $epoch is another key already"
	else
		# GEAR: accept`, `echo "$kcv k" >"$dir/$epoch"
	else
		# GEAR: accept`,
			"another key under an accepted epoch is refused", "it was carried out"},
		{"the last key is removed", `[ $# -gt 1 ] || refuse "epoch $epoch is the last key"`, ``,
			"the last key is not removed", "it was carried out"},
		{"removing what is absent fails", "		rm \"$dir/$epoch\"\n	fi", "		rm \"$dir/$epoch\"\n	else refuse 'not there'; fi",
			"removing an epoch that is not there is no error", "not there"},
		{"remove takes all others as well", `rm "$dir/$epoch"`, `rm "$dir"/*; echo "ffffffffff k" >"$dir/99"`,
			"remove takes away its epoch and no other", "99 (ffffffffff)"},
		{"the key is in a debug line", `op=$(field op)`, `echo "got $(field key)" >&2; op=$(field op)`,
			"no key bytes are in what it prints", "standard error has key bytes"},
		{"the key is in the answer", `printf '{"sends":{"epoch":%s,"kcv":"%s"}}\n' "$in_use" "$have"`,
			`printf '{"sends":{"epoch":%s,"kcv":"%s"},"key":"%s"}\n' "$in_use" "$have" "${rest:-}"`,
			"no key bytes are in what it prints", "standard output has key bytes"},
		{"something is printed behind the object", `printf '{"accepts":[%s]}\n' "$list"`, `printf '{"accepts":[%s]}\ndone\n' "$list"`,
			"observe shows what is accepted: nothing on a link without keys", "something after the JSON object"},
		{"nothing is printed", `printf '{"accepts":[%s]}\n' "$list"`, `:`,
			"observe shows what is accepted: nothing on a link without keys", "it printed nothing"},
		{"a new field is too much for it", `op=$(field op)`, `case $request in *later*) refuse 'unknown field';; esac; op=$(field op)`,
			"fields that it does not know are left alone", "unknown field"},
		{"links are mixed up", `dir=$GEAR_STATE/$(field link)/$role`, `dir=$GEAR_STATE/$role`,
			"links do not touch each other", "the gear shows that it"},
		{"a killed install leaves half a key", `printf '%s %s\n' "$kcv" "$(field key)" >"$dir/new"
		mv "$dir/new" "$dir/$epoch"`, `printf '%s' "$kcv" >"$dir/$epoch"; sleep 1; printf ' k\n' >>"$dir/$epoch"`,
			"an install that was killed in the middle can be repeated", ""},
		{"switching again fails", `[ "$have" = "$kcv" ] || refuse "epoch $epoch is another key already"
	else
		# GEAR: send`, `refuse "in use"
	else
		# GEAR: send`,
			"switching to the key in use is no error", "in use"},
		{"it does not go back", `# GEAR: send with this key.`, `[ "$epoch" -gt "$in_use" ] || refuse "too old"`,
			"switch goes back to the key before, as after an abort", "too old"},
		{"switching forgets what is accepted", `# GEAR: send with this key.`, `[ ! -d "$dir/../downstream" ] || rm -f "$dir/../downstream"/[0-9]*`,
			"switching takes nothing away from what is accepted", "after a switch it accepts"},
		{"it hangs", `switch)`, `switch) sleep 60;;
swatch)`,
			"switch sends with a key, and shows it with its KCV", "did not finish switch within 3s"},
	} {
		t.Run(c.mistake, func(t *testing.T) {
			t.Parallel()
			good := string(block(t, "sh"))
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatalf("the program of the contract has no %q", c.old)
			}
			// One side is enough for a mistake on one side, and quicker.
			sends := !strings.Contains(downstreamOnly, c.check)
			accepts := !strings.Contains(upstreamOnly, c.check)
			wrong, failed := checkup(t, bad, sends, accepts)
			says, found := wrong[c.check]
			if !found || !strings.Contains(says, c.says) || failed == 0 {
				t.Errorf("%d failed: %v\nwant %q to say %q", failed, wrong, c.check, c.says)
			}
		})
	}
}

// TestACheckupLeavesAForeignLinkAlone: gear that has keys on the link already may
// carry traffic with them.
func TestACheckupLeavesAForeignLinkAlone(t *testing.T) {
	d, dir := in(t, "gear")
	sa, c := canary(t, 4)
	sa.Link = "keyorch-check"
	if err := d.Downstream().Install(t.Context(), sa, c.Key); err != nil {
		t.Fatal(err)
	}
	before := state(t, dir)
	var first exec.Verdict
	failed, left := exec.Checkup{Device: d, Link: "keyorch-check", Accepts: true, Tell: func(v exec.Verdict) {
		if first.Check == "" {
			first = v
		}
	}}.Run(context.Background())
	if failed != 1 || first.Err == nil || !strings.Contains(first.Err.Error(), "name a link that has no keys") {
		t.Errorf("%d failed, the first says %v", failed, first.Err)
	}
	if after := state(t, dir); before != after || len(left) != 1 {
		t.Errorf("the gear was changed from %s to %s (left %v)", before, after, left)
	}
}

func state(t *testing.T, dir string) string {
	var all []string
	for _, f := range matches(t, dir, "keys-*") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s", filepath.Base(f), b))
	}
	return strings.Join(all, "\n")
}
