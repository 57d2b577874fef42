package exec_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/exec"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

func canary(t *testing.T, e keychain.Epoch) (keychain.SA, secrettest.Canary) {
	c := secrettest.New(t)
	check, err := c.Key.Check()
	if err != nil {
		t.Fatal(err)
	}
	return keychain.SA{Link: "dc1-dc2", Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)}, Turn: 7}, c
}

// in is a device in a mode, with a short time for each run if it will need it.
func in(t *testing.T, mode string) (d *exec.Device, dir string) {
	dir = t.TempDir()
	f := fields(t, mode, dir)
	if strings.Contains(mode, "hang") {
		f["timeout"] = "1s"
	}
	return open(t, f), dir
}

func program(t *testing.T) string {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(self)
}

func TestTrouble(t *testing.T) {
	for _, c := range []struct {
		mode string
		kind fault.Kind
		says string
	}{
		{"hang", fault.Unknown, " did not finish switch within 1s"},
		{"grandchild and hang", fault.Unknown, " did not finish switch within 1s"},
		{"garbage", fault.Unknown, " finished switch, but its answer is no good: what it printed is not a JSON object"},
		{"nothing", fault.Unknown, " finished switch, but its answer is no good: it printed nothing"},
		{"two objects", fault.Unknown, " finished switch, but its answer is no good: it printed something after the JSON object"},
		{"a megabyte", fault.Unknown, " printed more than 64 KiB in switch"},
		{"exit 1", fault.Unavailable, " failed switch with exit code 1: the port is busy"},
		{"exit 10", fault.Refused, " refused switch: there is no such port"},
		{"signal", fault.Unknown, " was killed in switch by a signal: terminated"},
		{"wrong KCV", fault.Mismatch, " finished switch, but shows another key under epoch 4: its KCV is 00000000ff, not "},
		{"no KCV", fault.Unknown, ` finished switch, but its answer is no good: "sends".kcv: a KCV is 10 lower-case hexadecimal digits`},
		{"not there", fault.Unknown, " finished switch, but does not show epoch 4"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			d, dir := in(t, c.mode)
			sa, key := canary(t, 4)
			err := d.Upstream().Switch(t.Context(), sa, key.Key)
			if want := program(t) + c.says; fault.Of(err) != c.kind || !strings.HasPrefix(fmt.Sprint(err), want) {
				t.Errorf("switch: %v (%v)\nwant %q (%v)", err, fault.Of(err), want, c.kind)
			}
			key.Absent(t, "an error", fmt.Sprintf("%v %#v", err, err))
			if len(matches(t, dir, "finished")) > 0 {
				t.Error("the program was not stopped")
			}
		})
	}
}

func TestTroubleWhileLooking(t *testing.T) {
	for mode, kind := range map[string]fault.Kind{
		"hang": fault.Unknown, "garbage": fault.Unavailable, "a megabyte": fault.Unavailable,
		"exit 1": fault.Unavailable, "exit 10": fault.Refused,
	} {
		d, _ := in(t, "observe "+mode)
		if _, err := d.Downstream().Observe(t.Context(), "dc1-dc2"); fault.Of(err) != kind || err == nil {
			t.Errorf("%s: %v (%v), want %v", mode, err, fault.Of(err), kind)
		}
	}
}

func TestAGrandchildThatKeepsThePipe(t *testing.T) {
	for _, mode := range []string{"grandchild", "grandchild and hang"} {
		d, dir := in(t, mode)
		sa, key := canary(t, 4)
		start := time.Now()
		err := d.Upstream().Switch(t.Context(), sa, key.Key)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: it took %v", mode, took)
		}
		if mode == "grandchild" && err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "grandchild"))
		if err != nil {
			t.Fatal(err)
		}
		pid, _ := strconv.Atoi(string(b))
		gone := func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || err == nil && strings.Contains(string(stat), ") Z ")
		}
		for deadline := time.Now().Add(5 * time.Second); !gone(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the grandchild is still there", mode)
			}
		}
	}
}

func TestTheKeyIsTakenOutOfMessages(t *testing.T) {
	for _, form := range []string{"raw", "hex", "HEX", "hex, spaced", "hex, a part", "base64", "base64url", "base64, moved", "decimal", "0x"} {
		d, _ := in(t, "leak "+form)
		sa, key := canary(t, 4)
		err := d.Downstream().Install(t.Context(), sa, key.Key)
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", form, err)
		}
		key.Absent(t, "a message ("+form+")", fmt.Sprint(err))
		if slices.Contains([]string{"raw", "hex", "HEX", "base64", "base64url"}, form) && !strings.Contains(err.Error(), "bad key [redacted]") {
			t.Errorf("%s: %v, want the rest of the message", form, err)
		}
	}
}

func TestACancelledRunIsStopped(t *testing.T) {
	d, dir := in(t, "grandchild and hang")
	sa, key := canary(t, 4)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Upstream().Switch(ctx, sa, key.Key) }()
	for len(matches(t, dir, "grandchild")) == 0 && len(done) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !fault.Is(err, fault.Unknown) {
		t.Errorf("switch: %v (%v)", err, fault.Of(err))
	}
	if err := d.Upstream().Switch(ctx, sa, key.Key); !errors.Is(err, context.Canceled) || !fault.Is(err, fault.Unavailable) {
		t.Errorf("a run that never began: %v (%v)", err, fault.Of(err))
	}
}

func TestWhatTheProgramGets(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "hvs.secret")
	t.Setenv("TZ", "Europe/Zurich")
	dir := t.TempDir()
	f := fields(t, "record", dir)
	f["params"] = map[string]any{"port": "eth0"}
	d := open(t, f)
	sa, key := canary(t, 4)
	if err := d.Downstream().Install(t.Context(), sa, key.Key); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "record"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Args, Env []string
		Stdin     string
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, e := range got.Env {
		name, _, _ := strings.Cut(e, "=")
		if !slices.Contains([]string{"PATH", "HOME", "LANG", "TZ", gearMode, gearState, "GORACE"}, name) {
			t.Errorf("the program got %s", name)
		}
	}
	if !slices.Contains(got.Env, "TZ=Europe/Zurich") {
		t.Error("the program did not get TZ")
	}
	key.Absent(t, "arguments or environment", append(got.Args, got.Env...)...)
	want := fmt.Sprintf(`{"contract":1,"op":"install","role":"downstream","link":"dc1-dc2","node":"n1","turn":7,"epoch":4,"kcv":%q,"key":%q,"params":{"port":"eth0"}}`+"\n",
		sa.KCV, base64.StdEncoding.EncodeToString(key.Bytes))
	if got.Stdin != want {
		t.Errorf("the program read\n%s\nwant\n%s", got.Stdin, want)
	}
}

func TestAProgramThatCannotBeStarted(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, path := range []string{
		filepath.Join(dir, "missing.sh"),
		"keyorch-no-such-program",
		dir,
		script("plain.sh", "#!/bin/sh\n", 0o600),
		script("foreign.sh", "#!/no/such/interpreter\n", 0o700),
		script("text", "hello", 0o700),
	} {
		d := open(t, map[string]any{"command": []any{path}})
		_, err := d.Upstream().Observe(t.Context(), "dc1-dc2")
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "run "+path+": ") {
			t.Errorf("%s: %v (%v), want invalid with the path", path, err, fault.Of(err))
		}
		if strings.Contains(path, "foreign") && !strings.Contains(err.Error(), "its interpreter is not") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestRunsOfOneLinkWaitForEachOther(t *testing.T) {
	dir := t.TempDir()
	d := open(t, fields(t, "grandchild and hang", dir))
	sa, key := canary(t, 4)
	switching, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Upstream().Switch(switching, sa, key.Key) }()
	for len(matches(t, dir, "grandchild")) == 0 && len(done) == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := d.Upstream().Observe(ctx, sa.Link); !fault.Is(err, fault.Unavailable) {
		t.Errorf("observe during a switch: %v (%v)", err, fault.Of(err))
	}
	if _, err := d.Upstream().Observe(t.Context(), "other-link"); err != nil {
		t.Errorf("another link: %v", err)
	}
	stop()
	<-done
}

func TestAKeyThatDoesNotFitItsNameIsNotHandedOver(t *testing.T) {
	d, dir := in(t, "record")
	sa, _ := canary(t, 4)
	_, other := canary(t, 4)
	if err := d.Upstream().Switch(t.Context(), sa, other.Key); !fault.Is(err, fault.Mismatch) {
		t.Errorf("a key of another KCV: %v", err)
	}
	if err := d.Upstream().Switch(t.Context(), sa, secret.New([]byte("short"))); !fault.Is(err, fault.Invalid) {
		t.Errorf("a short key: %v", err)
	}
	if len(matches(t, dir, "record")) > 0 {
		t.Error("the program was run")
	}
}
