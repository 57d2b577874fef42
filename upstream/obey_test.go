package upstream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

const link keychain.LinkID = "l1"

// gear is a sender that does what it is told, also what it should not be told,
// and counts what comes of it. Every look at it sends one packet first.
type gear struct {
	counterBound bool
	sends        keychain.Ref
	counter      int
	held         map[keychain.Ref]int // with their counters
	used         map[keychain.Ref]int // the first counter not used, for good
	reused       int
	switches     int

	observeErr, switchErr, resumeErr error
	ignores                          bool                  // Switch and Resume change nothing
	before                           func()                // is called at the start of Switch
	shows                            func(r *keychain.Ref) // changes what Observe says
}

func newGear(counterBound bool) *gear {
	return &gear{counterBound: counterBound, held: map[keychain.Ref]int{}, used: map[keychain.Ref]int{}}
}

func (g *gear) Capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: 4, SwitchSeparate: true, CounterBound: g.counterBound}
}

func (g *gear) Observe(context.Context, keychain.LinkID) (upstream.Observation, error) {
	if !g.sends.IsZero() {
		if g.counter < g.used[g.sends] {
			g.reused++
		}
		g.counter++
		g.used[g.sends] = max(g.used[g.sends], g.counter)
		g.held[g.sends] = g.counter
	}
	r := g.sends
	if g.shows != nil {
		g.shows(&r)
	}
	return upstream.Observation{Sends: r}, g.observeErr
}

func (g *gear) Switch(_ context.Context, sa keychain.SA, _ secret.Key) error {
	if g.before != nil {
		g.before()
	}
	g.switches++
	if !g.ignores && g.sends != sa.Ref {
		g.sends, g.counter = sa.Ref, 0
	}
	return g.switchErr
}

func (g *gear) reboot() { g.sends, g.counter, g.held = keychain.Ref{}, 0, map[keychain.Ref]int{} }

// resumer is a gear that can go back to a key that it still holds.
type resumer struct{ *gear }

func (r resumer) Resume(_ context.Context, sa keychain.SA) error {
	n, ok := r.held[sa.Ref]
	switch {
	case r.resumeErr != nil:
		return r.resumeErr
	case !ok:
		return fault.New(fault.Refused, "it is not held")
	case !r.ignores:
		r.sends, r.counter = sa.Ref, n
	}
	return nil
}

func want(t *testing.T, e keychain.Epoch) upstream.Want {
	c := secrettest.New(t)
	check, err := c.Key.Check()
	if err != nil {
		t.Fatal(err)
	}
	return upstream.Want{
		SA:  keychain.SA{Link: link, Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)}},
		Key: func(context.Context) (secret.Key, error) { return c.Key, nil },
	}
}

// send obeys and wants one outcome: nil, or a kind with a part of the message.
func send(t *testing.T, d upstream.Device, w upstream.Want, l upstream.Ledger, kind fault.Kind, says string) {
	t.Helper()
	_, err := upstream.Send(t.Context(), d, link, w, l)
	if says == "" && err != nil || says != "" && (fault.Of(err) != kind || err == nil || !strings.Contains(err.Error(), says)) {
		t.Errorf("send with epoch %d: %v (%v), want %q (%v)", w.SA.Epoch, err, fault.Of(err), says, kind)
	}
}

func TestSendJudgesWhatTheDeviceShows(t *testing.T) {
	down := fault.New(fault.Unavailable, "it is away")
	for _, c := range []struct {
		name    string
		trouble func(g *gear)
		kind    fault.Kind
		says    string
	}{
		{"a switch that the device does not show", func(g *gear) { g.ignores = true }, fault.Unknown, "switched to epoch 2, but the device does not show it"},
		{"another key under the epoch", func(g *gear) { g.shows = lie(2, "00000000ff") }, fault.Mismatch, "another key under epoch 2: its KCV is 00000000ff"},
		{"an epoch without a KCV", func(g *gear) { g.shows = lie(2, "") }, fault.Mismatch, "does not say which key"},
		{"a switch that fails", func(g *gear) { g.ignores, g.switchErr = true, down }, fault.Unavailable, "it is away"},
		{"a switch that fails and yet happened", func(g *gear) { g.switchErr = down }, 0, ""},
		{"a device that cannot be looked at", func(g *gear) { g.observeErr = down }, fault.Unavailable, "it is away"},
		{"a device that is away afterwards", func(g *gear) { g.before = func() { g.observeErr = down } }, fault.Unknown, "read back epoch 2: it is away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGear(false)
			send(t, g, want(t, 1), nil, 0, "")
			c.trouble(g)
			send(t, g, want(t, 2), nil, c.kind, c.says)
		})
	}
}

func lie(e keychain.Epoch, kcv keychain.KCV) func(*keychain.Ref) {
	return func(r *keychain.Ref) {
		if r.Epoch == e {
			r.KCV = kcv
		}
	}
}

func TestSendDoesNothingForWhatIsThere(t *testing.T) {
	g, w := newGear(false), want(t, 1)
	send(t, g, w, nil, 0, "")
	w.Key = func(context.Context) (secret.Key, error) { t.Error("the key was opened"); return secret.Key{}, nil }
	send(t, g, w, nil, 0, "")
	send(t, g, upstream.Want{}, nil, 0, "")
	if g.switches != 1 {
		t.Errorf("%d switches, want 1", g.switches)
	}
}

func TestSendOpensTheKeyWhereTheKCVIsNotKnown(t *testing.T) {
	g, w := newGear(false), want(t, 1)
	known := w.SA.KCV
	w.SA.KCV = ""
	send(t, g, w, nil, 0, "")
	if g.sends.KCV != known {
		t.Errorf("the device was told %v, want the KCV of the key", g.sends)
	}
	send(t, g, w, nil, 0, "")
	other := want(t, 1)
	other.SA.KCV = ""
	send(t, g, other, nil, fault.Mismatch, "another key under epoch 1")
	closed := fault.New(fault.Unavailable, "open the key: vault is sealed")
	w = want(t, 2)
	w.Key = func(context.Context) (secret.Key, error) { return secret.Key{}, closed }
	send(t, g, w, nil, fault.Unavailable, "vault is sealed")
	wrong := want(t, 2)
	wrong.Key = want(t, 2).Key
	send(t, g, wrong, nil, fault.Mismatch, "the key of epoch 2 has KCV")
	if g.switches != 1 {
		t.Errorf("%d switches, want 1", g.switches)
	}
}

func TestStartIsWrittenBeforeTheSwitch(t *testing.T) {
	g, l := newGear(true), &upstreamtest.Ledger{}
	g.before = func() {
		if !l.Started(1) {
			t.Error("the switch began before the ledger knew")
		}
	}
	send(t, g, want(t, 1), l, 0, "")
	l.Fail = errors.New("the disk is full")
	send(t, g, want(t, 2), l, fault.Unavailable, "write down that epoch 2 is about to be used: the disk is full")
	if g.switches != 1 || g.sends.Epoch != 1 {
		t.Errorf("it switched without the ledger: %d switches, sends with %v", g.switches, g.sends)
	}
}

func TestOnlyACertainFailureIsTakenBack(t *testing.T) {
	for kind, kept := range map[fault.Kind]bool{fault.Unavailable: false, fault.Refused: false, fault.Unknown: true} {
		g, l := newGear(true), &upstreamtest.Ledger{}
		send(t, g, want(t, 1), l, 0, "")
		g.ignores, g.switchErr = true, fault.New(kind, "it did not work")
		w := want(t, 2)
		send(t, g, w, l, kind, "it did not work")
		if l.Started(2) != kept {
			t.Errorf("after a failure of kind %v epoch 2 is started: %v, want %v", kind, l.Started(2), kept)
		}
		g.ignores, g.switchErr = false, nil
		if kept {
			send(t, g, w, l, fault.Refused, "only a new epoch")
		} else {
			send(t, g, w, l, 0, "")
		}
	}
	// A failure for certain, but the key in use is not what it was.
	g, l := newGear(true), &upstreamtest.Ledger{}
	send(t, g, want(t, 1), l, 0, "")
	g.ignores, g.switchErr, g.before = true, fault.New(fault.Refused, "no"), g.reboot
	send(t, g, want(t, 2), l, fault.Refused, "no")
	if !l.Started(2) {
		t.Error("the start was taken back although the device had changed")
	}
}

func TestADeviceThatSendsNothingHasLostWhatWasStarted(t *testing.T) {
	g, l := newGear(true), &upstreamtest.Ledger{}
	w1, w2 := want(t, 1), want(t, 2)
	send(t, g, w1, l, 0, "")
	send(t, g, w2, l, 0, "")
	g.reboot()
	for range 2 {
		send(t, resumer{g}, w2, l, fault.Refused, "send with epoch 2: its counter is lost")
	}
	if lost := l.LostEpochs(); !slices.Equal(lost, []keychain.Epoch{1, 2}) {
		t.Errorf("lost: %v", lost)
	}
	_, err := upstream.Send(t.Context(), g, link, w1, l)
	if !errors.Is(err, upstream.ErrLost) {
		t.Errorf("going back to a lost epoch: %v", err)
	}
	send(t, g, want(t, 3), l, 0, "")
	if g.reused != 0 || g.sends.Epoch != 3 {
		t.Errorf("%d packets reused a counter, and it sends with %v", g.reused, g.sends)
	}
}

func TestAStartedEpochIsResumedOrLost(t *testing.T) {
	g, l := newGear(true), &upstreamtest.Ledger{}
	w1 := want(t, 1)
	send(t, g, w1, l, 0, "")
	send(t, g, want(t, 2), l, 0, "")
	switches := g.switches
	send(t, resumer{g}, w1, l, 0, "")
	if g.sends != w1.SA.Ref || g.switches != switches {
		t.Errorf("it sends with %v after %d more switches", g.sends, g.switches-switches)
	}
	w3 := want(t, 3)
	send(t, g, w3, l, 0, "")
	away := resumer{g}
	g.resumeErr = fault.New(fault.Unavailable, "it is away")
	send(t, away, w1, l, fault.Unavailable, "it is away")
	g.resumeErr, g.ignores = nil, true
	send(t, away, w1, l, fault.Unknown, "resumed epoch 1, but the device does not show it")
	g.ignores = false
	if l.Lost(1) {
		t.Fatal("epoch 1 is lost already")
	}
	send(t, g, w1, l, fault.Refused, "its counter is lost") // this device cannot resume
	if !l.Lost(1) || g.sends != w3.SA.Ref || g.reused != 0 {
		t.Errorf("lost: %v, sends %v, reused %d", l.LostEpochs(), g.sends, g.reused)
	}
}

func TestWhatIsSeenToBeSentCountsAsStarted(t *testing.T) {
	g := newGear(true)
	w1 := want(t, 1)
	send(t, g, w1, &upstreamtest.Ledger{}, 0, "")
	fresh := &upstreamtest.Ledger{} // the agent's disk is lost
	send(t, g, w1, fresh, 0, "")
	g.reboot()
	send(t, g, w1, fresh, fault.Refused, "its counter is lost")
}

func TestALedgerThatCannotWriteLeavesTheDeviceAlone(t *testing.T) {
	g, l := newGear(true), &upstreamtest.Ledger{}
	w1 := want(t, 1)
	send(t, g, w1, l, 0, "")
	g.reboot()
	l.Fail = errors.New("the disk is full")
	send(t, g, want(t, 2), l, fault.Unavailable, "are lost: the disk is full")
	if !g.sends.IsZero() {
		t.Errorf("it sends with %v", g.sends)
	}
}

// forgetful is a Ledger that remembers nothing: Send with its protection taken
// out.
type forgetful struct{ upstreamtest.Ledger }

func (*forgetful) Started(keychain.Epoch) bool     { return false }
func (*forgetful) StartedEpochs() []keychain.Epoch { return nil }
func (*forgetful) Lost(keychain.Epoch) bool        { return false }

// The teeth: with a ledger that remembers nothing, a key that was lost goes out
// with its counter restarted, after a restart of the device as after going back.
func TestWithoutTheLedgerACounterIsReused(t *testing.T) {
	for name, again := range map[string]func(g *gear, w upstream.Want, l upstream.Ledger){
		"restart":    func(g *gear, _ upstream.Want, _ upstream.Ledger) { g.reboot() },
		"going back": func(g *gear, w upstream.Want, l upstream.Ledger) { send(t, g, w, l, 0, "") },
	} {
		for _, ledger := range []upstream.Ledger{&upstreamtest.Ledger{}, &forgetful{}} {
			g, w1, w2 := newGear(true), want(t, 1), want(t, 2)
			send(t, g, w1, ledger, 0, "")
			again(g, w2, ledger)
			_, err := upstream.Send(t.Context(), g, link, w1, ledger)
			_, protected := ledger.(*upstreamtest.Ledger)
			switch {
			case protected && (!errors.Is(err, upstream.ErrLost) || g.reused != 0):
				t.Errorf("%s: %v, %d packets reused a counter", name, err, g.reused)
			case !protected && (err != nil || g.reused == 0):
				t.Errorf("%s without the ledger: %v, and no counter was reused: the check has no teeth", name, err)
			}
		}
	}
}
