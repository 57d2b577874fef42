package downstream_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

const link keychain.LinkID = "l1"

// gear is a receiver that does what it is told, also what it should not be told:
// it has no scruple about its last key.
type gear struct {
	accepts []keychain.Ref
	removed []keychain.SA

	observeErr, installErr, removeErr error
	ignores                           bool // Install and Remove change nothing
	shows                             func(refs []keychain.Ref) []keychain.Ref
	after                             func() // is called at the end of Install and Remove
}

func (*gear) Capabilities() keychain.Capabilities { return keychain.Capabilities{AcceptMany: 4} }

func (g *gear) Observe(context.Context, keychain.LinkID) (downstream.Observation, error) {
	refs := slices.Clone(g.accepts)
	if g.shows != nil {
		refs = g.shows(refs)
	}
	return downstream.Observation{Accepts: refs}, g.observeErr
}

func (g *gear) Install(_ context.Context, sa keychain.SA, _ secret.Key) error {
	if !g.ignores {
		g.accepts = append(g.accepts, sa.Ref)
	}
	return g.done(g.installErr)
}

func (g *gear) Remove(_ context.Context, sa keychain.SA) error {
	g.removed = append(g.removed, sa)
	if !g.ignores {
		g.accepts = slices.DeleteFunc(g.accepts, func(r keychain.Ref) bool { return r.Epoch == sa.Epoch })
	}
	return g.done(g.removeErr)
}

func (g *gear) done(err error) error {
	if g.after != nil {
		g.after()
	}
	return err
}

func (g *gear) epochs() []keychain.Epoch {
	var epochs []keychain.Epoch
	for _, r := range g.accepts {
		epochs = append(epochs, r.Epoch)
	}
	return epochs
}

func want(t *testing.T, e keychain.Epoch) downstream.Want {
	c := secrettest.New(t)
	check, err := c.Key.Check()
	if err != nil {
		t.Fatal(err)
	}
	return downstream.Want{
		SA:  keychain.SA{Link: link, Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)}, Turn: keychain.Turn(10 + e)},
		Key: func(context.Context) (secret.Key, error) { return c.Key, nil },
	}
}

type obey func(context.Context, downstream.Device, keychain.LinkID, []downstream.Want) (downstream.Observation, error)

// obeys wants one outcome: nil, or a kind with a part of the message; and these
// epochs accepted afterwards.
func obeys(t *testing.T, f obey, g *gear, kind fault.Kind, says string, wants []downstream.Want, epochs ...keychain.Epoch) {
	t.Helper()
	_, err := f(t.Context(), g, link, wants)
	if says == "" && err != nil || says != "" && (fault.Of(err) != kind || err == nil || !strings.Contains(err.Error(), says)) {
		t.Errorf("%v (%v), want %q (%v)", err, fault.Of(err), says, kind)
	}
	if !slices.Equal(g.epochs(), epochs) {
		t.Errorf("it accepts %v, want %v", g.epochs(), epochs)
	}
}

func all(w ...downstream.Want) []downstream.Want { return w }

func TestAcceptInstallsWhatIsMissingAndRemovesNothing(t *testing.T) {
	g := &gear{}
	w1, w2, w3 := want(t, 1), want(t, 2), want(t, 3)
	obeys(t, downstream.Accept, g, 0, "", nil)
	obeys(t, downstream.Accept, g, 0, "", all(w1), 1)
	obeys(t, downstream.Accept, g, 0, "", all(w3, w2), 1, 2, 3)
	w3.Key = func(context.Context) (secret.Key, error) {
		t.Error("a key that is there was opened")
		return secret.Key{}, nil
	}
	o, err := downstream.Accept(t.Context(), g, link, all(w3))
	if err != nil || len(o.Accepts) != 3 || len(g.removed) != 0 {
		t.Errorf("it shows %v (%v), and removed %v", o.Accepts, err, g.removed)
	}
}

func TestAcceptJudgesWhatTheDeviceShows(t *testing.T) {
	down := fault.New(fault.Unavailable, "it is away")
	drop := func(e keychain.Epoch) func([]keychain.Ref) []keychain.Ref {
		return func(refs []keychain.Ref) []keychain.Ref {
			return slices.DeleteFunc(refs, func(r keychain.Ref) bool { return r.Epoch == e })
		}
	}
	for _, c := range []struct {
		name    string
		trouble func(g *gear)
		kind    fault.Kind
		says    string
		epochs  []keychain.Epoch
	}{
		{"an install that the device does not show", func(g *gear) { g.ignores = true }, fault.Unknown, "installed epoch 2, but the device does not show it", []keychain.Epoch{1}},
		{"another key than was installed", func(g *gear) { g.shows = lie(2, "00000000ff") }, fault.Mismatch, "another key under epoch 2: its KCV is 00000000ff", []keychain.Epoch{1, 2}},
		{"an epoch without a KCV", func(g *gear) { g.shows = lie(2, "") }, fault.Mismatch, "does not say which key", []keychain.Epoch{1, 2}},
		{"a wanted key that is another", func(g *gear) { g.accepts[0].KCV = "00000000ff" }, fault.Mismatch, "another key under epoch 1", []keychain.Epoch{1, 2}},
		{"an install that fails", func(g *gear) { g.ignores, g.installErr = true, down }, fault.Unavailable, "it is away", []keychain.Epoch{1}},
		{"an install that fails and yet happened", func(g *gear) { g.installErr = down }, 0, "", []keychain.Epoch{1, 2}},
		{"a device that cannot be looked at", func(g *gear) { g.observeErr = down }, fault.Unavailable, "it is away", []keychain.Epoch{1}},
		{"a device that is away afterwards", func(g *gear) { g.after = func() { g.observeErr = down } }, fault.Unknown, "read back what was installed: it is away", []keychain.Epoch{1, 2}},
		{"an install that costs the old key", func(g *gear) { g.after = func() { g.shows = drop(1) } }, fault.Unknown, "no longer accepts epoch 1", []keychain.Epoch{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, w1, w2 := &gear{}, want(t, 1), want(t, 2)
			obeys(t, downstream.Accept, g, 0, "", all(w1), 1)
			c.trouble(g)
			obeys(t, downstream.Accept, g, c.kind, c.says, all(w1, w2), c.epochs...)
		})
	}
}

func lie(e keychain.Epoch, kcv keychain.KCV) func([]keychain.Ref) []keychain.Ref {
	return func(refs []keychain.Ref) []keychain.Ref {
		for i := range refs {
			if refs[i].Epoch == e {
				refs[i].KCV = kcv
			}
		}
		return refs
	}
}

func TestAcceptLearnsTheKCVFromTheKey(t *testing.T) {
	g, w := &gear{}, want(t, 1)
	known := w.SA.KCV
	w.SA.KCV = ""
	obeys(t, downstream.Accept, g, 0, "", all(w), 1)
	if g.accepts[0].KCV != known {
		t.Errorf("the device was told %v, want the KCV of the key", g.accepts[0])
	}
	other := want(t, 1)
	other.SA.KCV = ""
	obeys(t, downstream.Accept, g, fault.Mismatch, "another key under epoch 1", all(other), 1)
	wrong := want(t, 2)
	wrong.Key = want(t, 2).Key
	obeys(t, downstream.Accept, g, fault.Mismatch, "the key of epoch 2 has KCV", all(wrong), 1)
}

func TestOneKeyInTroubleDoesNotKeepAnotherOut(t *testing.T) {
	g, w2, w3 := &gear{}, want(t, 2), want(t, 3)
	w2.Key = func(context.Context) (secret.Key, error) {
		return secret.Key{}, fault.New(fault.Unavailable, "vault is sealed")
	}
	obeys(t, downstream.Accept, g, fault.Unavailable, "vault is sealed", all(w2, w3), 3)
	g.accepts[0].KCV = "00000000ff" // graver than a sealed vault
	obeys(t, downstream.Accept, g, fault.Mismatch, "another key under epoch 3", all(w2, w3), 3)
}

func TestForgetRemovesOnlyWhatIsNotWanted(t *testing.T) {
	g := &gear{}
	w1, w2, w3 := want(t, 1), want(t, 2), want(t, 3)
	obeys(t, downstream.Accept, g, 0, "", all(w1, w2, w3), 1, 2, 3)
	one := w1.SA.Ref
	obeys(t, downstream.Forget, g, 0, "", nil, 1, 2, 3)
	obeys(t, downstream.Forget, g, 0, "", all(w1, w2, w3), 1, 2, 3)
	obeys(t, downstream.Forget, g, 0, "", all(w2, w3), 2, 3)
	if want := (keychain.SA{Link: link, Ref: one, Turn: 13}); !slices.Equal(g.removed, []keychain.SA{want}) {
		t.Errorf("removed %+v, want %+v", g.removed, want)
	}
	obeys(t, downstream.Forget, g, 0, "", all(w2, w3), 2, 3)
}

// Forgetting waits until every wanted key is there, by the right name. Each case
// removes one key of two if that protection is taken out.
func TestForgetWaitsForWhatIsWanted(t *testing.T) {
	for name, wants := range map[string]func(w1, w2, w3 downstream.Want) []downstream.Want{
		"nothing is wanted":            func(_, _, _ downstream.Want) []downstream.Want { return nil },
		"a wanted key is not there":    func(_, w2, w3 downstream.Want) []downstream.Want { return all(w2, w3) },
		"a wanted key is another key":  func(_, w2, _ downstream.Want) []downstream.Want { w2.SA.KCV = "00000000ff"; return all(w2) },
		"none of the wanted are there": func(_, _, w3 downstream.Want) []downstream.Want { return all(w3) },
	} {
		t.Run(name, func(t *testing.T) {
			g, w1, w2, w3 := &gear{}, want(t, 1), want(t, 2), want(t, 3)
			obeys(t, downstream.Accept, g, 0, "", all(w1, w2), 1, 2)
			obeys(t, downstream.Forget, g, 0, "", wants(w1, w2, w3), 1, 2)
			obeys(t, downstream.Forget, g, 0, "", all(w2), 2) // the teeth
		})
	}
}

func TestForgetJudgesWhatTheDeviceShows(t *testing.T) {
	down := fault.New(fault.Unavailable, "it is away")
	for _, c := range []struct {
		name    string
		trouble func(g *gear)
		kind    fault.Kind
		says    string
		epochs  []keychain.Epoch
	}{
		{"a remove that the device does not show", func(g *gear) { g.ignores = true }, fault.Unknown, "removed epoch 1, but the device still shows it", []keychain.Epoch{1, 2}},
		{"a remove that fails", func(g *gear) { g.ignores, g.removeErr = true, fault.New(fault.Refused, "no") }, fault.Refused, "no", []keychain.Epoch{1, 2}},
		{"a remove that fails and yet happened", func(g *gear) { g.removeErr = down }, 0, "", []keychain.Epoch{2}},
		{"a device that is away afterwards", func(g *gear) { g.after = func() { g.observeErr = down } }, fault.Unknown, "read back what was removed", []keychain.Epoch{2}},
		{"a remove that costs the wanted key", func(g *gear) { g.after = func() { g.accepts = nil } }, fault.Unknown, "no longer accepts epoch 2", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, w1, w2 := &gear{}, want(t, 1), want(t, 2)
			obeys(t, downstream.Accept, g, 0, "", all(w1, w2), 1, 2)
			c.trouble(g)
			obeys(t, downstream.Forget, g, c.kind, c.says, all(w2), c.epochs...)
		})
	}
}
