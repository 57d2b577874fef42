package downstream

import (
	"cmp"
	"context"
	"slices"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Want is one key that an order asks to accept, and how to open it.
type Want struct {
	SA keychain.SA
	// Key opens the wrapped key. What it gives has been checked against SA.KCV,
	// where that is known. It is called only when the device lacks the key, or
	// when SA.KCV is not known; the Key stays its maker's to wipe.
	Key func(ctx context.Context) (secret.Key, error)
}

// Accept makes dev accept on link every key that want names, beside what it
// accepts now, and gives back what the device then says. It never removes a key,
// it may be repeated at any time, and it does nothing for a key that the device
// already has. One key in trouble does not keep another from being installed;
// the gravest trouble is returned. The Observation is the last one made, also
// with an error.
//
// Errors: those of Device and of Want.Key, and
//   - Mismatch: the device has another key under a wanted epoch, or does not say
//     which; nothing is changed for that epoch;
//   - Unknown: a key was installed, but the device does not show it.
func Accept(ctx context.Context, dev Device, link keychain.LinkID, want []Want) (Observation, error) {
	seen, err := dev.Observe(ctx, link)
	if err != nil {
		return seen, err
	}
	var troubles []error
	var tried []attempt
	for _, w := range inOrder(want) {
		if got, ok := seen.ref(w.SA.Epoch); ok {
			if err := confirm(ctx, got, w); err != nil {
				troubles = append(troubles, err)
			}
			continue
		}
		sa := w.SA
		key, kcv, err := open(ctx, w)
		if err != nil {
			troubles = append(troubles, err)
			continue
		}
		sa.KCV = kcv
		tried = append(tried, attempt{ref: sa.Ref, err: dev.Install(ctx, sa, key)})
	}
	if len(tried) == 0 {
		return seen, gravest(troubles)
	}
	now, err := dev.Observe(ctx, link)
	if err != nil {
		for _, a := range tried {
			troubles = append(troubles, a.err)
		}
		return seen, gravest(append(troubles, fault.Wrap(fault.Unknown, err, "read back what was installed")))
	}
	for _, a := range tried {
		troubles = append(troubles, a.judge(now))
	}
	return now, gravest(append(troubles, now.missing(want, seen)))
}

// Forget makes dev stop accepting what want no longer names, and gives back what
// the device then says. It does nothing when want is empty, or while the device
// does not show every wanted key: forgetting comes last. The Observation is the
// last one made, also with an error.
//
// The SA that Remove gets has the epoch and the KCV as the device shows them and
// the highest Turn of want, but no Serial: nobody knows it any more.
//
// Errors: those of Device, and Unknown when a key was removed but the device
// still shows it, or shows a wanted one no longer.
func Forget(ctx context.Context, dev Device, link keychain.LinkID, want []Want) (Observation, error) {
	seen, err := dev.Observe(ctx, link)
	if err != nil || len(want) == 0 {
		return seen, err
	}
	var turn keychain.Turn
	wanted := map[keychain.Epoch]bool{}
	for _, w := range want {
		turn = max(turn, w.SA.Turn)
		wanted[w.SA.Epoch] = true
		if got, ok := seen.ref(w.SA.Epoch); !ok || got.KCV == "" || !got.Agrees(w.SA.Ref) {
			return seen, nil
		}
	}
	var troubles []error
	failed := map[keychain.Epoch]error{}
	for _, r := range seen.Accepts {
		if !wanted[r.Epoch] {
			err := dev.Remove(ctx, keychain.SA{Link: link, Ref: r, Turn: turn})
			failed[r.Epoch], troubles = err, append(troubles, err)
		}
	}
	if len(failed) == 0 {
		return seen, nil
	}
	now, err := dev.Observe(ctx, link)
	if err != nil {
		return seen, gravest(append(troubles, fault.Wrap(fault.Unknown, err, "read back what was removed")))
	}
	troubles = nil // what the device shows counts, not what the call said
	for _, r := range now.Accepts {
		err, tried := failed[r.Epoch]
		if tried && err == nil {
			err = fault.New(fault.Unknown, "removed epoch %d, but the device still shows it", r.Epoch)
		}
		troubles = append(troubles, err)
	}
	return now, gravest(append(troubles, now.missing(want, seen)))
}

// attempt is one Install: the key that was given, and what the call said.
type attempt struct {
	ref keychain.Ref
	err error
}

// judge goes by what the device shows, also after an error.
func (a attempt) judge(now Observation) error {
	got, ok := now.ref(a.ref.Epoch)
	switch {
	case ok:
		return same(got, a.ref)
	case a.err != nil:
		return a.err
	}
	return fault.New(fault.Unknown, "installed epoch %d, but the device does not show it", a.ref.Epoch)
}

// confirm compares what the device accepts to what is wanted. Where the KCV is
// not known yet, the key itself tells.
func confirm(ctx context.Context, got keychain.Ref, w Want) error {
	ref := w.SA.Ref
	if ref.KCV == "" {
		_, kcv, err := open(ctx, w)
		if err != nil {
			return err
		}
		ref.KCV = kcv
	}
	return same(got, ref)
}

func same(got, want keychain.Ref) error {
	switch {
	case got.KCV == want.KCV:
		return nil
	case got.KCV == "":
		return fault.New(fault.Mismatch, "the device accepts epoch %d, but does not say which key that is", got.Epoch)
	}
	return fault.New(fault.Mismatch, "the device accepts another key under epoch %d: its KCV is %s, not %s", got.Epoch, got.KCV, want.KCV)
}

// open opens the wanted key and says its KCV.
func open(ctx context.Context, w Want) (secret.Key, keychain.KCV, error) {
	key, err := w.Key(ctx)
	if err != nil {
		return secret.Key{}, "", err
	}
	check, err := key.Check()
	if err != nil {
		return secret.Key{}, "", fault.Wrap(fault.Invalid, err, "open the key of epoch %d", w.SA.Epoch)
	}
	kcv := keychain.KCVOf(check)
	if w.SA.KCV != "" && kcv != w.SA.KCV {
		return secret.Key{}, "", fault.New(fault.Mismatch, "the key of epoch %d has KCV %s, not %s", w.SA.Epoch, kcv, w.SA.KCV)
	}
	return key, kcv, nil
}

func (o Observation) ref(e keychain.Epoch) (keychain.Ref, bool) {
	i := slices.IndexFunc(o.Accepts, func(r keychain.Ref) bool { return r.Epoch == e })
	if i < 0 {
		return keychain.Ref{}, false
	}
	return o.Accepts[i], true
}

// missing is about a wanted key that was there before and is gone now.
func (o Observation) missing(want []Want, before Observation) error {
	for _, w := range inOrder(want) {
		_, was := before.ref(w.SA.Epoch)
		if _, is := o.ref(w.SA.Epoch); was && !is {
			return fault.New(fault.Unknown, "the device no longer accepts epoch %d", w.SA.Epoch)
		}
	}
	return nil
}

func inOrder(want []Want) []Want {
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b Want) int { return cmp.Compare(a.SA.Epoch, b.SA.Epoch) })
	return want
}

// gravest picks the error that says most about what to do: a wrong key before a
// device that says no, and that before what another try may cure. Nil errors do
// not count.
func gravest(errs []error) error {
	rank := []fault.Kind{fault.Mismatch, fault.Invalid, fault.Refused, fault.Stale, fault.Unknown, fault.Unavailable}
	var worst error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if worst == nil || slices.Index(rank, fault.Of(err)) < slices.Index(rank, fault.Of(worst)) {
			worst = err
		}
	}
	return worst
}
