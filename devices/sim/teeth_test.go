package sim_test

import (
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// brokenAs names the way in which TestBroken breaks its device.
const brokenAs = "KEYORCH_TEST_BROKEN"

// The teeth of the conformance suites: each way to break a device is found by
// the check that is there for it.
func TestTheSuitesHaveTeeth(t *testing.T) {
	for broken, check := range map[string]string{
		"sender: restarts its counter":     "switching_to_the_key_in_use_changes_nothing",
		"sender: takes any key":            "another_key_under_the_epoch_in_use_is_not_taken",
		"sender: fails too late":           "a_failed_switch_keeps_the_old_key",
		"sender: does not look at ctx":     "an_ended_context_is_answered_promptly",
		"sender: one link for all":         "links_do_not_touch_each_other",
		"sender: resumes anew":             "sending_goes_back_to_the_key_before",
		"sender: forgets nothing":          "a_restart_keeps_or_loses_keys_as_declared",
		"sender: hides a former key":       "what_it_can_go_back_to,_it_says_that_it_holds",
		"sender: lies":                     "it_sends_with_the_key_that_it_was_switched_to",
		"sender: talks":                    "a_failed_switch_keeps_the_old_key",
		"receiver: replaces":               "it_accepts_what_was_installed,_and_what_was_there_before",
		"receiver: takes any key":          "another_key_under_an_accepted_epoch_is_not_taken",
		"receiver: fails too late":         "a_failed_install_changes_nothing",
		"receiver: removes the last":       "the_last_key_is_not_removable",
		"receiver: wants to be asked once": "removing_what_is_absent_is_no_error",
		"receiver: does not look at ctx":   "an_ended_context_is_answered_promptly",
		"receiver: one link for all":       "links_do_not_touch_each_other",
		"receiver: switches":               "installing_changes_nothing_that_is_sent",
		"receiver: talks":                  "a_failed_install_changes_nothing",
	} {
		t.Run(broken, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestBroken$")
			cmd.Env = append(os.Environ(), brokenAs+"="+broken)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestBroken/"+check) {
				t.Errorf("the suite did not find it in %q (%v):\n%s", check, err, out)
			}
		})
	}
}

// TestBroken is run by TestTheSuitesHaveTeeth, and fails then.
func TestBroken(t *testing.T) {
	role, how, ok := strings.Cut(os.Getenv(brokenAs), ": ")
	switch {
	case !ok:
		return
	case role == "sender":
		upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
			n, d := open(t, sim.NodeOptions{CounterBound: true}, false)
			b := &brokenSender{Device: d.Upstream(), how: how, keys: map[keychain.Epoch]secret.Key{}, other: secrettest.New(t).Key}
			n.LieKCV(how == "lies")
			f := upstreamtest.Fixture{
				Device: b, Reboot: n.RebootLosingKeys, Reused: func() int { return reused(t, n) },
				FailNext: func() { b.fail = true },
			}
			if how == "forgets nothing" {
				f.Reboot = func() {}
			}
			return f
		})
	default:
		downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
			n, d := open(t, sim.NodeOptions{}, false)
			b := &brokenReceiver{Device: d.Downstream(), how: how, up: d.Upstream()}
			return downstreamtest.Fixture{
				Device: b, Reboot: n.RebootLosingKeys, FailNext: func() { b.fail = true },
				Send: b.up.Switch,
				Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
					o, err := b.up.Observe(ctx, link)
					return o.Sends, err
				},
			}
		})
	}
}

// brokenSender is a sender that is broken in one way.
type brokenSender struct {
	upstream.Device
	how   string
	fail  bool
	keys  map[keychain.Epoch]secret.Key
	other secret.Key
}

func (b *brokenSender) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	o, err := b.Device.Observe(b.through(ctx), b.link(link))
	if b.how == "hides a former key" {
		o.Holds = []keychain.Ref{o.Sends}
	}
	return o, err
}

func (b *brokenSender) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	sa.Link = b.link(sa.Link)
	if b.fail {
		b.fail = false
		if b.how == "fails too late" {
			_ = b.Device.Switch(ctx, sa, key)
		}
		return failure(b.how, key)
	}
	if b.how == "resumes anew" {
		b.keys[sa.Epoch] = key
	}
	if o, _ := b.Device.Observe(ctx, sa.Link); b.how == "restarts its counter" && o.Sends == sa.Ref {
		_ = b.Device.Switch(ctx, keychain.SA{Link: sa.Link, Ref: keychain.Ref{Epoch: 99}}, b.other)
	}
	err := b.Device.Switch(b.through(ctx), sa, key)
	if b.how == "takes any key" && fault.Is(err, fault.Mismatch) {
		return nil
	}
	return err
}

func (b *brokenSender) Resume(ctx context.Context, sa keychain.SA) error {
	if b.how == "resumes anew" {
		return b.Device.Switch(ctx, sa, b.keys[sa.Epoch])
	}
	return b.Device.(upstream.Resumer).Resume(ctx, sa)
}

func (b *brokenSender) through(ctx context.Context) context.Context { return through(ctx, b.how) }

func (b *brokenSender) link(l keychain.LinkID) keychain.LinkID { return oneLink(l, b.how) }

// brokenReceiver is a receiver that is broken in one way.
type brokenReceiver struct {
	downstream.Device
	how  string
	fail bool
	up   upstream.Device
}

func (b *brokenReceiver) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	return b.Device.Observe(through(ctx, b.how), oneLink(link, b.how))
}

func (b *brokenReceiver) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	sa.Link = oneLink(sa.Link, b.how)
	if b.fail {
		b.fail = false
		if b.how == "fails too late" {
			_ = b.Device.Install(ctx, sa, key)
		}
		return failure(b.how, key)
	}
	before, _ := b.Device.Observe(ctx, sa.Link)
	err := b.Device.Install(through(ctx, b.how), sa, key)
	switch b.how {
	case "replaces":
		for _, r := range before.Accepts {
			if r.Epoch != sa.Epoch {
				_ = b.Device.Remove(ctx, keychain.SA{Link: sa.Link, Ref: r})
			}
		}
	case "switches":
		_ = b.up.Switch(ctx, sa, key)
	case "takes any key":
		if fault.Is(err, fault.Mismatch) {
			return nil
		}
	}
	return err
}

func (b *brokenReceiver) Remove(ctx context.Context, sa keychain.SA) error {
	sa.Link = oneLink(sa.Link, b.how)
	before, _ := b.Device.Observe(ctx, sa.Link)
	there := slices.ContainsFunc(before.Accepts, func(r keychain.Ref) bool { return r.Epoch == sa.Epoch })
	if b.how == "wants to be asked once" && !there {
		return fault.New(fault.Refused, "it is not there")
	}
	err := b.Device.Remove(through(ctx, b.how), sa)
	if b.how == "removes the last" && fault.Is(err, fault.Refused) {
		return nil
	}
	return err
}

func through(ctx context.Context, how string) context.Context {
	if how == "does not look at ctx" {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func oneLink(l keychain.LinkID, how string) keychain.LinkID {
	if how == "one link for all" {
		return "conformance"
	}
	return l
}

// failure is an error, of a device that talks one that tells the key.
func failure(how string, key secret.Key) error {
	told := ""
	if how == "talks" {
		_ = key.Use(func(b []byte) error {
			told = hex.EncodeToString(b)
			return nil
		})
	}
	return fault.New(fault.Unavailable, "it does not work %s", told)
}
