//go:build devices

package devices_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/bird"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// ringKey is a key of a link and its name. The same seed gives the same key, also
// in another process.
func ringKey(t testing.TB, link keychain.LinkID, e keychain.Epoch) (keychain.SA, secret.Key) {
	t.Helper()
	bytes := make([]byte, secret.Size)
	for i := range bytes {
		bytes[i] = byte(int(e) + i)
	}
	k := secret.New(bytes)
	check, err := k.Check()
	if err != nil {
		t.Fatal(err)
	}
	return keychain.SA{Link: link, Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)}, Serial: keychain.Serial(e)}, k
}

// shown is what the device shows of a link.
func shown(t testing.TB, d *bird.Device, link keychain.LinkID) (accepts []keychain.Ref, sends keychain.Ref) {
	t.Helper()
	down, err := d.Downstream().Observe(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	up, err := d.Upstream().Observe(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	return down.Accepts, up.Sends
}

const (
	crashSocket    = "KEYORCH_TEST_BIRD_SOCKET"
	crashDirectory = "KEYORCH_TEST_BIRD_DIRECTORY"
)

// TestBirdCrashes kills a process in the middle of a switch, with each of the three
// commands under way, with and without an operator who has BIRD read the files as
// they were left. The process is this test binary again.
func TestBirdCrashes(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	const link = "conformance"
	if os.Getenv(crashSocket) != "" {
		d, err := bird.New("n1", map[string]any{"socket": os.Getenv(crashSocket), "directory": os.Getenv(crashDirectory), "timeout": "3s", "links": map[string]any{link: nil}})
		if err != nil {
			t.Fatal(err)
		}
		sa, k := ringKey(t, link, 2)
		t.Fatalf("the switch ended: %v", d.Upstream().Switch(t.Context(), sa, k))
	}
	for _, at := range []string{"check", "load", "confirm"} {
		for _, configured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, configured %v", at, configured), func(t *testing.T) {
				x := newTroubled(t)
				old, k1 := ringKey(t, link, 1)
				sa, k2 := ringKey(t, link, 2)
				for _, err := range []error{x.Upstream().Switch(t.Context(), old, k1), x.Downstream().Install(t.Context(), sa, k2)} {
					if err != nil {
						t.Fatal(err)
					}
				}
				front := map[string]*testbed.Proxy{"check": x.check, "load": x.load, "confirm": x.confirm}[at]
				crashAt(t, x, front)
				if configured {
					x.birdc("configure")
				}
				accepts, sends := shown(t, x.Device, link)
				if !slices.Equal(accepts, []keychain.Ref{old.Ref, sa.Ref}) || !sends.IsZero() {
					t.Errorf("after a crash it shows that it accepts %v and sends with %v, want both and nothing that is certain", accepts, sends)
				}
				if err := x.Upstream().Switch(t.Context(), sa, k2); err != nil {
					t.Fatal(err)
				}
				time.Sleep(4 * time.Second) // the timeout of the process that was killed, and more
				if accepts, sends := shown(t, x.Device, link); len(accepts) != 2 || sends != sa.Ref {
					t.Errorf("later it accepts %v and sends with %v, want %v", accepts, sends, sa.Ref)
				}
			})
		}
	}
}

// crashAt kills a process that switches while a command of it hangs.
func crashAt(t *testing.T, x troubled, front *testbed.Proxy) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	front.HangNext()
	cmd := exec.Command(self, "-test.run=^TestBirdCrashes$")
	cmd.Env = append(os.Environ(), crashSocket+"="+filepath.Join(x.dir, "front3.ctl"), crashDirectory+"="+x.keys())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testbed.Until(t, 10*time.Second, "the command hangs", front.Troubled)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

// TestBirdTakesBackWhatIsNotConfirmed lets the answer to the confirmation hang until
// BIRD has undone the change by itself.
func TestBirdTakesBackWhatIsNotConfirmed(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	x := newTroubled(t)
	d, err := bird.New("n1", map[string]any{"socket": filepath.Join(x.dir, "front3.ctl"), "directory": x.keys(), "timeout": "3s", "links": map[string]any{"conformance": nil}})
	if err != nil {
		t.Fatal(err)
	}
	old, k1 := ringKey(t, "conformance", 1)
	sa, k2 := ringKey(t, "conformance", 2)
	if err := d.Upstream().Switch(t.Context(), old, k1); err != nil {
		t.Fatal(err)
	}
	x.confirm.HangNext()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := d.Upstream().Switch(ctx, sa, k2); !fault.Of(err).Retryable() || err == nil {
		t.Errorf("a switch that nobody confirmed: %v (%v)", err, fault.Of(err))
	}
	if accepts, sends := shown(t, d, "conformance"); len(accepts) != 1 || sends != old.Ref {
		t.Errorf("it accepts %v and sends with %v, want %v", accepts, sends, old.Ref)
	}
	if err := d.Upstream().Switch(t.Context(), sa, k2); err != nil {
		t.Error(err)
	}
}

// TestBirdIsToldOfNoIncludes: the operator has not included what keyorch writes.
func TestBirdIsToldOfNoIncludes(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	for _, c := range []struct{ without, says string }{
		{".keys", "conformance.keys included before it?"},
		{"nothing", "include it at the top of bird.conf"},
	} {
		t.Run(c.without, func(t *testing.T) {
			r := newRouter(t, testbed.NewNamespace(t, "bird"), func(keys string) string {
				conf := "router id 10.9.0.1;\nprotocol device { }\n"
				if c.without == ".keys" {
					conf += "protocol ospf v2 { ipv4 { }; area 0 { interface \"x\" { authentication cryptographic;\n include \"" + keys + "/conformance.ospf\";\n}; }; }\n"
				}
				return conf
			}, "conformance")
			d, err := bird.New("n1", map[string]any{"socket": r.socket(), "directory": r.keys(), "links": map[string]any{"conformance": nil}})
			if err != nil {
				t.Fatal(err)
			}
			sa, k := ringKey(t, "conformance", 1)
			err = d.Downstream().Install(t.Context(), sa, k)
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("without %s: %v (%v)", c.without, err, fault.Of(err))
			}
			if accepts, _ := shown(t, d, "conformance"); len(accepts) != 0 {
				t.Errorf("without %s it accepts %v", c.without, accepts)
			}
		})
	}
}

// bfdSince is when the BFD session came up, to a few milliseconds.
func (r *router) bfdSince(t testing.TB) time.Time {
	t.Helper()
	for line := range strings.Lines(r.birdc("show bfd sessions")) {
		if f := strings.Fields(line); len(f) == 6 && f[2] == "Up" {
			since, err := time.Parse(time.TimeOnly, f[3])
			if err != nil {
				t.Fatal(err)
			}
			return since
		}
	}
	return time.Time{}
}

// TestBirdEditedByHand edits the files of one of two routers. What nobody loaded
// costs nothing; what was loaded costs the adjacency until it is put right.
func TestBirdEditedByHand(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := backbonePair(t)
	first, k1 := ringKey(t, backbone, 1)
	second, k2 := ringKey(t, backbone, 2)
	for _, r := range []*router{a, b} {
		if err := r.driver(t).Upstream().Switch(t.Context(), first, k1); err != nil {
			t.Fatal(err)
		}
	}
	testbed.Until(t, time.Minute, "the routers are neighbours", a.up)
	since := a.bfdSince(t)
	install := func() error { return a.driver(t).Downstream().Install(t.Context(), second, k2) }
	shows := func(what string, n int) {
		t.Helper()
		accepts, sends := shown(t, a.driver(t), backbone)
		if len(accepts) != n || (sends == first.Ref) != (n > 0) {
			t.Errorf("%s: it accepts %v and sends with %v", what, accepts, sends)
		}
	}
	if err := os.WriteFile(filepath.Join(a.keys(), "backbone.ospf"), []byte("password \"x\";\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	shows("edited", 0)
	if err := install(); err != nil {
		t.Fatal(err)
	}
	shows("put right", 2)
	if now := a.bfdSince(t); now.Sub(since).Abs() > 100*time.Millisecond || !a.up() {
		t.Errorf("the session was lost: it is up since %v, and was since %v", now, since)
	}
	a.editPasswords(t)
	testbed.Until(t, time.Minute, "the neighbour is lost", func() bool { return !a.up() })
	shows("edited and loaded", 0)
	mend := a.breakConfiguration(t)
	if err := a.driver(t).Downstream().Remove(t.Context(), second); !fault.Is(err, fault.Unavailable) ||
		!strings.Contains(err.Error(), "backbone.ospf") || !strings.Contains(err.Error(), "edited by hand") || !strings.Contains(err.Error(), "bird.conf:") {
		t.Errorf("edited, with a broken configuration: %v (%v)", err, fault.Of(err))
	}
	shows("edited, loaded and put back on disk only", 0)
	mend()
	if err := install(); err != nil {
		t.Fatal(err)
	}
	shows("put right again", 2)
	testbed.Until(t, time.Minute, "the neighbour is back", a.up)
}

// TestBirdUndoesASwitchThatCostsANeighbour is the negative control of the watch:
// the neighbour lacks the key. Without BFD it shows after the dead interval.
func TestBirdUndoesASwitchThatCostsANeighbour(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	for _, c := range []struct {
		name string
		conf func(conf string) string
		link map[string]any
		up   func(r *router) bool
		says string
	}{
		{"BFD", func(conf string) string { return conf }, nil, (*router).up, "BFD neighbor 10.9.0.2 on va was lost by the change"},
		{"OSPF alone", func(conf string) string {
			return strings.NewReplacer("bfd yes;", "", "hello 2;", "hello 1;", "dead 10;", "dead 4;").Replace(conf)
		}, map[string]any{"protocols": []any{"ospf"}}, func(r *router) bool { return strings.Contains(r.birdc("show ospf neighbors"), "Full") },
			"OSPF neighbor 10.9.0.2 on va was lost by the change"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := backbonePair(t)
			var drivers []*bird.Device
			first, k1 := ringKey(t, backbone, 1)
			for _, r := range []*router{a, b} {
				conf, err := os.ReadFile(r.conf())
				if err != nil {
					t.Fatal(err)
				}
				r.configure(c.conf(string(conf)))
				d, err := bird.New("r", map[string]any{"socket": r.socket(), "directory": r.keys(), "links": map[string]any{string(backbone): c.link}})
				if err != nil {
					t.Fatal(err)
				}
				if err := d.Upstream().Switch(t.Context(), first, k1); err != nil {
					t.Fatal(err)
				}
				drivers = append(drivers, d)
			}
			testbed.Until(t, time.Minute, "the routers are neighbours", func() bool { return c.up(a) })
			canary := secrettest.New(t)
			sa := keychain.SA{Link: backbone, Ref: keychain.Ref{Epoch: 2}, Serial: 2}
			err := drivers[0].Upstream().Switch(t.Context(), sa, canary.Key)
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("switch: %v (%v)", err, fault.Of(err))
			}
			canary.Absent(t, "the error", fmt.Sprint(err))
			if _, sends := shown(t, drivers[0], backbone); sends != first.Ref {
				t.Errorf("it sends with %v, want %v", sends, first.Ref)
			}
			testbed.Until(t, time.Minute, "the neighbour is back", func() bool { return c.up(a) })
		})
	}
}
