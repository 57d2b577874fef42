package sim

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// tagLabel derives what the network is told of a link key.
const tagLabel = "keyorch/v1 sim tag key"

// New is the driver of kind sim: the device of one node, as the topology
// declares it. Without the field "network" it is a node of local. Errors:
// Invalid.
func New(id keychain.NodeID, fields map[string]any, local *Network) (*Device, error) {
	o, address, err := read(fields)
	switch {
	case err != nil:
		return nil, err
	case address != "":
		r, err := Dial(address)
		if err != nil {
			return nil, err
		}
		return r.Device(id, o), nil
	case local == nil:
		return nil, fault.New(fault.Invalid, `network: it is missing, and this process has no network of its own: give an address such as "unix:///run/keyorch/sim.sock"`)
	}
	return &local.Node(id, o).Device, nil
}

// Capabilities is what a device with these fields can do. Errors: Invalid.
func Capabilities(fields map[string]any) (keychain.Capabilities, error) {
	o, _, err := read(fields)
	if err != nil {
		return keychain.Capabilities{}, err
	}
	return o.capabilities(), nil
}

func read(fields map[string]any) (NodeOptions, string, error) {
	r := params.Read("sim", fields)
	o := NodeOptions{
		AcceptMany:   r.Int("acceptMany", DefaultAcceptMany, 1, 256),
		CounterBound: r.Bool("counterBound", false),
		Survives:     r.Bool("survives", false),
		Takes:        r.Duration("latency", 0, 0, time.Minute),
	}
	address := r.String("network", "")
	if _, err := socketPath(address); address != "" && err != nil {
		r.Problem("network", "%v", err)
	}
	return o, address, r.Err()
}

// Device operates one node, in this process or over a socket. It is safe for
// concurrent use.
type Device struct {
	id           keychain.NodeID
	net          carrier
	options      *NodeOptions // told to a network elsewhere; nil: it knows
	capabilities func() keychain.Capabilities
}

// carrier brings an operation to a network.
type carrier interface {
	do(ctx context.Context, r request) (answer, error)
}

// request is one operation on its way to a network. Tag is derived from the link
// key and is there for install and switch only.
type request struct {
	Op      Op              `json:"op"`
	Node    keychain.NodeID `json:"node"`
	Options *NodeOptions    `json:"options,omitempty"`
	Link    keychain.LinkID `json:"link"`
	Ref     keychain.Ref    `json:"ref,omitzero"`
	Tag     []byte          `json:"tag,omitempty"`
}

// answer is the node's end of a link after an operation.
type answer struct {
	Accepts  []keychain.Ref            `json:"accepts,omitempty"`
	Sends    keychain.Ref              `json:"sends,omitzero"`
	Holds    []keychain.Ref            `json:"holds,omitempty"`
	Received map[keychain.Epoch]uint64 `json:"received,omitempty"`
	Sent     map[keychain.Epoch]uint64 `json:"sent,omitempty"`
}

// Capabilities is what the node can do.
func (d *Device) Capabilities() keychain.Capabilities { return d.capabilities() }

// Upstream is the node's sending side. It implements upstream.Resumer too.
func (d *Device) Upstream() upstream.Device { return sender{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return receiver{d} }

func (d *Device) do(ctx context.Context, op Op, link keychain.LinkID, ref keychain.Ref, tag []byte) (answer, error) {
	return d.net.do(ctx, request{Op: op, Node: d.id, Options: d.options, Link: link, Ref: ref, Tag: tag})
}

// put is an operation that gives the node a key.
func (d *Device) put(ctx context.Context, op Op, sa keychain.SA, key secret.Key) error {
	check, err := key.Check()
	if err != nil || sa.Epoch == 0 {
		return fault.New(fault.Invalid, "%s on %s: there is no key or no epoch", op, d.id)
	}
	derived, err := key.Derive(tagLabel, len(tagKey{}))
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "%s on %s", op, d.id)
	}
	defer derived.Wipe()
	ref := keychain.Ref{Epoch: sa.Epoch, KCV: keychain.KCVOf(check)}
	return derived.Use(func(b []byte) error {
		_, err := d.do(ctx, op, sa.Link, ref, b)
		return err
	})
}

type sender struct{ *Device }

func (s sender) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	a, err := s.do(ctx, OpObserve, link, keychain.Ref{}, nil)
	return upstream.Observation{Sends: a.Sends, Holds: a.Holds, Packets: a.Sent}, err
}

func (s sender) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	return s.put(ctx, OpSwitch, sa, key)
}

func (s sender) Resume(ctx context.Context, sa keychain.SA) error {
	_, err := s.do(ctx, OpResume, sa.Link, sa.Ref, nil)
	return err
}

type receiver struct{ *Device }

func (r receiver) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	a, err := r.do(ctx, OpObserve, link, keychain.Ref{}, nil)
	return downstream.Observation{Accepts: a.Accepts, Packets: a.Received}, err
}

func (r receiver) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	return r.put(ctx, OpInstall, sa, key)
}

func (r receiver) Remove(ctx context.Context, sa keychain.SA) error {
	_, err := r.do(ctx, OpRemove, sa.Link, sa.Ref, nil)
	return err
}

// corrupted is what a node that corrupts keys makes of one.
func corrupted(k installed) installed {
	k.key = sha256.Sum256(append([]byte("corrupt "), k.key[:]...))
	k.ref.KCV = keychain.KCVOf([5]byte(k.key[:5]))
	return k
}

// lied is what a node that lies says of its keys.
func lied(refs []keychain.Ref) []keychain.Ref {
	refs = slices.Clone(refs)
	for i := range refs {
		sum := sha256.Sum256([]byte("lie " + refs[i].KCV))
		refs[i].KCV = keychain.KCVOf([5]byte(sum[:5]))
	}
	return refs
}
