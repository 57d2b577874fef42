package frr

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// device is one whose vtysh is a shell script.
func device(t *testing.T, script string, more map[string]any) *Device {
	t.Helper()
	program := filepath.Join(t.TempDir(), "vtysh")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{"vtysh": program, "persist": false, "timeout": "5s", "links": links("dc1-dc2")}
	for k, v := range more {
		fields[k] = v
	}
	d, err := New("n1", fields)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// shows is a script that prints a configuration, whatever it is asked.
func shows(t *testing.T, chain string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shown")
	if err := os.WriteFile(file, []byte(shown(chain)), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("case \" $* \" in *' -c '*) exec cat %s ;; esac\n", file)
}

func sa(t *testing.T, epoch keychain.Epoch) (keychain.SA, secrettest.Canary) {
	t.Helper()
	c := secrettest.New(t)
	return keychain.SA{Link: "dc1-dc2", Ref: keychain.Ref{Epoch: epoch}, Serial: keychain.Serial(epoch)}, c
}

func TestVtyshInTrouble(t *testing.T) {
	for _, c := range []struct {
		name, script, want string
		more               map[string]any
	}{
		{"ospf6d is down", "echo 'Exiting: failed to connect to any daemons.' >&2; exit 1", "reach ospf6d: failed to connect to any daemons", nil},
		{"no permission", "echo 'vtysh_connect(/run/ospf6d.vty): stat = Permission denied' >&2; exit 1", "stat = Permission denied", nil},
		{"ospf6d dies meanwhile", "printf 'hostname r1\\n!\\nend\\n\\n'", "went away", nil},
		{"it prints nothing", "exit 0", "went away", nil},
		{"it fails without a word", "exit 7", "exit code 7", nil},
		{"it is not there", "", "is FRR installed", map[string]any{"vtysh": "/nowhere/vtysh"}},
		{"it hangs", "exec sleep 60", "did not end within 1s", map[string]any{"timeout": "1s"}},
	} {
		_, err := device(t, c.script, c.more).Downstream().Observe(t.Context(), "dc1-dc2")
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v (%v), want unavailable with %q", c.name, err, fault.Of(err), c.want)
		}
	}
}

func TestLookingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := device(t, "sleep 60 & wait", nil).Downstream().Observe(ctx, "dc1-dc2")
	if err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

func TestWhatIsNotAsItShouldBeIsNamed(t *testing.T) {
	next, c := sa(t, 4)
	for _, x := range []struct {
		name, chain, want string
		iface             string
	}{
		{"another interface", "", "interface eth7 does not authenticate with key chain dc1-dc2", "eth7"},
		{"a log of every command", "log commands\n!\n", "no log commands", "eth1"},
	} {
		d := device(t, shows(t, x.chain), map[string]any{"links": map[string]any{"dc1-dc2": map[string]any{"interface": x.iface}}})
		err := d.Downstream().Install(t.Context(), next, c.Key)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v (%v), want unavailable with %q", x.name, err, fault.Of(err), x.want)
		}
	}
}

// TestADaemonThatTakesNothing has a vtysh that repeats the lines that it was
// given, as vtysh does, and changes nothing.
func TestADaemonThatTakesNothing(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	d := device(t, shows(t, both())+`tee -a `+record+` <"$4" | sed 's/^/line 5: % Unknown command[14]: /' >&2; exit 2`, nil)
	next, c := sa(t, 4)
	for name, f := range map[string]func(context.Context, keychain.SA) error{
		"install": func(ctx context.Context, sa keychain.SA) error { return d.Downstream().Install(ctx, sa, c.Key) },
		"switch":  func(ctx context.Context, sa keychain.SA) error { return d.Upstream().Switch(ctx, sa, c.Key) },
	} {
		err := f(t.Context(), next)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), `"key-string …": unknown command`) {
			t.Errorf("%s: %v (%v)", name, err, fault.Of(err))
		}
		if text := err.Error(); strings.Contains(text, "e4-") {
			t.Errorf("%s: it repeats the key-string: %s", name, text)
		}
		c.Absent(t, name, err.Error())
	}
	b, err := os.ReadFile(record)
	if err != nil || !strings.Contains(string(b), "key-string e4-") {
		t.Errorf("vtysh was given no key-string (%v):\n%s", err, b)
	}
	c.Absent(t, "what vtysh reads", string(b)) // a derived key, never the link key
}

func TestTheLastKeyAndOtherLinks(t *testing.T) {
	d := device(t, shows(t, both()), nil)
	gone, c := sa(t, 9)
	if err := d.Downstream().Remove(t.Context(), gone); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
	gone.Epoch = 2
	if err := d.Downstream().Remove(t.Context(), gone); !fault.Is(err, fault.Unavailable) {
		t.Errorf("remove the key in use: %v", err)
	}
	gone.Link = "elsewhere"
	if err := d.Downstream().Install(t.Context(), gone, c.Key); !fault.Is(err, fault.Invalid) {
		t.Errorf("a link without parameters: %v", err)
	}
	if _, err := d.Upstream().Observe(t.Context(), "elsewhere"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a link without parameters: %v", err)
	}
}
