package exec

import (
	"context"
	"slices"

	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// Device operates the gear of one node by running its program. It is safe for
// concurrent use; runs for one link and one role wait for each other.
type Device struct {
	config
	node keychain.NodeID
	name string // of the program, as messages call it

	busy turnstile.Turnstile[run] // one at a time of each
	// overhear, if set, is shown all that a run printed, and the key that it was
	// given.
	overhear func(r request, stdout, stderr []byte, key secret.Key)
}

// run is what only one program at a time is run for.
type run struct {
	link keychain.LinkID
	role string
}

const (
	roleUpstream   = "upstream"
	roleDownstream = "downstream"

	opObserve = "observe"
	opInstall = "install"
	opRemove  = "remove"
	opSwitch  = "switch"
)

// Capabilities is what the topology says that the gear can do.
func (d *Device) Capabilities() keychain.Capabilities { return d.capabilities }

// Upstream is the node's sending side.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	r, err := u.operate(ctx, request{Op: opObserve, Role: roleUpstream, Link: link}, secret.Key{})
	return upstream.Observation{Sends: r.sends, Packets: r.packets}, err
}

// Switch implements upstream.Device.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	r, err := u.put(ctx, opSwitch, roleUpstream, &sa, key)
	if err != nil {
		return err
	}
	return u.shows(opSwitch, sa.Ref, r.sends)
}

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device.
func (d Downstream) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	r, err := d.operate(ctx, request{Op: opObserve, Role: roleDownstream, Link: link}, secret.Key{})
	return downstream.Observation{Accepts: r.accepts, Packets: r.packets}, err
}

// Install implements downstream.Device.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	r, err := d.put(ctx, opInstall, roleDownstream, &sa, key)
	if err != nil {
		return err
	}
	return d.shows(opInstall, sa.Ref, r.accepted(sa.Epoch))
}

// Remove implements downstream.Device. That the last key is not removed is seen
// to here: the gear is looked at first, so that no program has to be trusted
// with it.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	o, err := d.Observe(ctx, sa.Link)
	switch {
	case err != nil:
		return err
	case !slices.ContainsFunc(o.Accepts, func(r keychain.Ref) bool { return r.Epoch == sa.Epoch }):
		return nil
	case len(o.Accepts) == 1:
		return fault.New(fault.Refused, "remove epoch %d from %s: it is the last key", sa.Epoch, d.node)
	}
	r, err := d.operate(ctx, request{
		Op: opRemove, Role: roleDownstream, Link: sa.Link, Turn: sa.Turn, Epoch: sa.Epoch, KCV: sa.KCV,
	}, secret.Key{})
	if err == nil && !r.accepted(sa.Epoch).IsZero() {
		return fault.New(fault.Unknown, "%s finished remove, but still shows epoch %d", d.name, sa.Epoch)
	}
	return err
}

// put runs an operation that hands over a key. It fills in the KCV of sa, which
// comes from the key itself.
func (d *Device) put(ctx context.Context, op, role string, sa *keychain.SA, key secret.Key) (report, error) {
	check, err := key.Check()
	if err != nil || key.Len() != keySize || sa.Epoch == 0 {
		return report{}, fault.New(fault.Invalid, "%s on %s: it takes an epoch and a key of %d bytes", op, d.node, keySize)
	}
	kcv := keychain.KCVOf(check)
	if sa.KCV != "" && sa.KCV != kcv {
		return report{}, fault.New(fault.Mismatch, "%s epoch %d on %s: the key has KCV %s, not %s", op, sa.Epoch, d.node, kcv, sa.KCV)
	}
	sa.KCV = kcv
	return d.operate(ctx, request{
		Op: op, Role: role, Link: sa.Link, Turn: sa.Turn, Epoch: sa.Epoch, KCV: sa.KCV,
	}, key)
}

// shows compares what the gear shows after an operation with what it was given.
func (d *Device) shows(op string, want, got keychain.Ref) error {
	switch {
	case got.Epoch != want.Epoch:
		return fault.New(fault.Unknown, "%s finished %s, but does not show epoch %d", d.name, op, want.Epoch)
	case got.KCV != want.KCV:
		return fault.New(fault.Mismatch, "%s finished %s, but shows another key under epoch %d: its KCV is %s, not %s", d.name, op, want.Epoch, got.KCV, want.KCV)
	}
	return nil
}

// operate runs the program once, after the run before it for the same link and
// role has ended.
func (d *Device) operate(ctx context.Context, r request, key secret.Key) (report, error) {
	leave, err := d.busy.Enter(ctx, run{r.Link, r.Role})
	if err != nil {
		return report{}, notRun(ctx, d.name, r.Op)
	}
	defer leave()
	r.Contract, r.Node, r.Params = contract, d.node, d.params
	return d.run(ctx, r, key)
}

// notRun is about a run that never began.
func notRun(ctx context.Context, name, op string) error {
	return fault.Wrap(fault.Unavailable, ctx.Err(), "%s was not run for %s", name, op)
}
