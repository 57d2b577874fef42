package upstream

import (
	"context"
	"errors"
	"slices"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// ErrLost is wrapped, with kind Refused, by Send for a key whose counter is lost
// at this node. Nothing but a new epoch helps: the same key with the same
// counter twice gives the traffic away.
var ErrLost = errors.New("its counter is lost, only a new epoch can be sent with")

// Want is one key that an order asks to send with, and how to open it.
type Want struct {
	SA keychain.SA
	// Key opens the wrapped key. What it gives has been checked against SA.KCV,
	// where that is known. It is called only when the device lacks the key, or
	// when SA.KCV is not known; the Key stays its maker's to wipe.
	Key func(ctx context.Context) (secret.Key, error)
}

// Ledger remembers, for one counter-bound node and one link, the epochs that it
// has begun to send with and those that it must never send with again. What a
// method wrote is durable when it returns. Started, Lost and StartedEpochs do no
// I/O.
type Ledger interface {
	// Started reports whether e was begun here, or was about to be.
	Started(e keychain.Epoch) bool
	// StartedEpochs lists all started epochs; those that are lost may be among
	// them.
	StartedEpochs() []keychain.Epoch
	// Start writes down that e is about to be sent with.
	Start(ctx context.Context, e keychain.Epoch) error
	// Cancel takes Start back: e was never sent with.
	Cancel(ctx context.Context, e keychain.Epoch) error
	// Lose writes down that the counters of these epochs are lost for good.
	Lose(ctx context.Context, epochs []keychain.Epoch) error
	// Lost reports whether e was lost.
	Lost(e keychain.Epoch) bool
}

// Send makes dev send on link with the key that want names, and gives back what
// the device then says. It may be repeated at any time, and it does nothing when
// the device already sends with that key. A zero want is no wish: the device is
// only looked at. The Observation is the last one made, also with an error.
//
// Errors: those of Device and of want.Key, and
//   - Unknown: the switch went well, but the device does not show it;
//   - Mismatch: the device has another key under that epoch, or does not say
//     which;
//   - Refused wrapping ErrLost: see the rules;
//   - Unavailable: the ledger could not be written, and nothing was changed.
//
// A device that is not counter-bound needs no ledger. For one that is, these
// rules hold, all for one reason: a sending key is used with a counter, and the
// same key with the same counter twice gives the traffic away.
//
//  1. An epoch that the device is seen to send with is written down as started,
//     whoever started it, so that rules 2 and 4 know of it.
//  2. A device that sends nothing has restarted, and its counters went with its
//     keys: every started epoch is lost.
//  3. A lost epoch is never switched to and never resumed.
//  4. A started epoch that the device does not send with is never switched to,
//     since Switch may install it anew and restart its counter. Only Resume,
//     which has no key to install, may go back to it; where that is refused or
//     not possible, the epoch is lost.
//  5. An epoch is written down as started before Switch, and durably: after a
//     crash in between it counts as used. That may cost an epoch, never a key.
//  6. Only a switch that failed for certain (any kind but Unknown), on a device
//     that shows the same key in use as before, is taken back from the ledger.
func Send(ctx context.Context, dev Device, link keychain.LinkID, want Want, ledger Ledger) (Observation, error) {
	seen, err := dev.Observe(ctx, link)
	if err != nil {
		return seen, err
	}
	if !dev.Capabilities().CounterBound {
		ledger = nil
	} else if err := takeStock(ctx, seen, ledger); err != nil {
		return seen, err
	}
	epoch := want.SA.Epoch
	switch {
	case epoch == 0:
		return seen, nil
	case seen.Sends.Epoch == epoch:
		return seen, confirm(ctx, seen.Sends, want)
	case ledger != nil && ledger.Lost(epoch):
		return seen, lost(epoch)
	case ledger != nil && ledger.Started(epoch):
		return resume(ctx, dev, link, want, ledger, seen)
	}
	return change(ctx, dev, link, want, ledger, seen)
}

// takeStock is rules 1 and 2.
func takeStock(ctx context.Context, seen Observation, ledger Ledger) error {
	if e := seen.Sends.Epoch; e != 0 {
		if ledger.Started(e) {
			return nil
		}
		return unwritten(ledger.Start(ctx, e), "write down that epoch %d is in use", e)
	}
	gone := slices.DeleteFunc(slices.Clone(ledger.StartedEpochs()), ledger.Lost)
	if len(gone) == 0 {
		return nil
	}
	return unwritten(ledger.Lose(ctx, gone), "write down that the counters of epochs %v are lost", gone)
}

// resume is rule 4: back to a key that the device still holds, with its counter.
func resume(ctx context.Context, dev Device, link keychain.LinkID, want Want, ledger Ledger, seen Observation) (Observation, error) {
	epoch := want.SA.Epoch
	failed := fault.New(fault.Refused, "the device cannot resume")
	if r, ok := dev.(Resumer); ok {
		failed = r.Resume(ctx, want.SA)
	}
	if fault.Is(failed, fault.Refused) {
		if err := unwritten(ledger.Lose(ctx, []keychain.Epoch{epoch}), "write down that the counter of epoch %d is lost", epoch); err != nil {
			return seen, err
		}
		return seen, lost(epoch)
	}
	now, err := dev.Observe(ctx, link)
	switch {
	case err != nil && failed != nil:
		return seen, failed
	case err != nil:
		return seen, fault.Wrap(fault.Unknown, err, "read back epoch %d", epoch)
	case now.Sends.Epoch == epoch:
		return now, confirm(ctx, now.Sends, want)
	case failed != nil:
		return now, failed
	}
	return now, fault.New(fault.Unknown, "resumed epoch %d, but the device does not show it", epoch)
}

// change is a first use of the key: rules 5 and 6 around Switch, then a look at
// what became of it.
func change(ctx context.Context, dev Device, link keychain.LinkID, want Want, ledger Ledger, seen Observation) (Observation, error) {
	sa, epoch := want.SA, want.SA.Epoch
	key, kcv, err := open(ctx, want)
	if err != nil {
		return seen, err
	}
	sa.KCV = kcv
	if ledger != nil {
		if err := unwritten(ledger.Start(ctx, epoch), "write down that epoch %d is about to be used", epoch); err != nil {
			return seen, err
		}
	}
	failed := dev.Switch(ctx, sa, key)
	now, err := dev.Observe(ctx, link)
	switch {
	case err != nil && failed != nil:
		return seen, failed
	case err != nil:
		return seen, fault.Wrap(fault.Unknown, err, "read back epoch %d", epoch)
	case now.Sends.Epoch == epoch: // also after an error: what the device says counts
		return now, same(now.Sends, keychain.Ref{Epoch: epoch, KCV: kcv})
	case failed == nil:
		return now, fault.New(fault.Unknown, "switched to epoch %d, but the device does not show it", epoch)
	}
	if ledger != nil && !fault.Is(failed, fault.Unknown) && now.Sends == seen.Sends {
		if err := unwritten(ledger.Cancel(ctx, epoch), "write down that epoch %d was not used", epoch); err != nil {
			return now, err
		}
	}
	return now, failed
}

// confirm compares what the device sends with to what is wanted. Where the KCV
// is not known yet, the key itself tells.
func confirm(ctx context.Context, sends keychain.Ref, want Want) error {
	ref := want.SA.Ref
	if ref.KCV == "" {
		_, kcv, err := open(ctx, want)
		if err != nil {
			return err
		}
		ref.KCV = kcv
	}
	return same(sends, ref)
}

func same(got, want keychain.Ref) error {
	switch {
	case got.KCV == want.KCV:
		return nil
	case got.KCV == "":
		return fault.New(fault.Mismatch, "the device sends with epoch %d, but does not say which key that is", got.Epoch)
	}
	return fault.New(fault.Mismatch, "the device sends with another key under epoch %d: its KCV is %s, not %s", got.Epoch, got.KCV, want.KCV)
}

// open opens the wanted key and says its KCV.
func open(ctx context.Context, want Want) (secret.Key, keychain.KCV, error) {
	key, err := want.Key(ctx)
	if err != nil {
		return secret.Key{}, "", err
	}
	check, err := key.Check()
	if err != nil {
		return secret.Key{}, "", fault.Wrap(fault.Invalid, err, "open the key of epoch %d", want.SA.Epoch)
	}
	kcv := keychain.KCVOf(check)
	if want.SA.KCV != "" && kcv != want.SA.KCV {
		return secret.Key{}, "", fault.New(fault.Mismatch, "the key of epoch %d has KCV %s, not %s", want.SA.Epoch, kcv, want.SA.KCV)
	}
	return key, kcv, nil
}

func lost(e keychain.Epoch) error {
	return fault.New(fault.Refused, "send with epoch %d: %w", e, ErrLost)
}

// unwritten classifies a ledger that could not write: nothing was changed on the
// device yet.
func unwritten(err error, format string, a ...any) error {
	return fault.Wrap(fault.Unavailable, err, format, a...)
}
