package netconf

import (
	"context"
	"slices"
	"time"

	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// idle is how long a session is kept for the next operation: an order takes
// several, and a login takes longer than any of them.
const idle = 10 * time.Second

// session is a session with a device that can be driven.
type session struct {
	*client.Session
	namespaces map[string]string // of the modules of algorithms
	stores     bool              // running and startup are two configurations
	expiry     *time.Timer
}

// do runs f in a session, which may be one that was kept. When that turns out to
// have ended before f changed anything, f is run once more in a new one. what is
// for messages.
func (d *Device) do(ctx context.Context, what string, id keychain.LinkID, f func(context.Context, *session, link) error) error {
	l, ok := d.links[id]
	if !ok {
		return params.NoLink(id)
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	err := d.through(limited, func() error {
		for {
			s, fresh, err := d.session(limited)
			if err != nil {
				return err
			}
			err = f(limited, s, l)
			d.keep(s)
			if err == nil || fresh || !s.Dead() || !fault.Is(err, fault.Unavailable) || limited.Err() != nil {
				return err
			}
		}
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fault.New(fault.Of(err), "%s on %s: no answer of %s within %v", what, d.node, d.target.Address, d.timeout)
	}
	return fault.Wrap(fault.Of(err), err, "%s on %s", what, d.node)
}

// through runs f when nobody else is through the gate.
func (d *Device) through(ctx context.Context, f func() error) error {
	leave, err := d.gate.Enter(ctx, struct{}{})
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "wait for another operation")
	}
	defer leave()
	return f()
}

// session is the one that was kept, or a fresh one.
func (d *Device) session(ctx context.Context) (s *session, fresh bool, err error) {
	if s := d.kept; s != nil {
		d.kept = nil
		if s.expiry.Stop(); !s.Dead() {
			return s, false, nil
		}
		s.Close()
	}
	opened, err := client.Dial(ctx, d.target)
	if err != nil {
		return nil, false, fault.Wrap(fault.Unavailable, err, "cannot open a NETCONF session with %s as %s", d.target.Address, d.target.User)
	}
	s = &session{Session: opened, namespaces: map[string]string{}, stores: opened.Can(client.Startup)}
	if err := d.able(ctx, s); err != nil {
		s.Close()
		return nil, false, err
	}
	return s, true, nil
}

// keep keeps a session that is good for the next operation.
func (d *Device) keep(s *session) {
	if s.Dead() {
		s.Close()
		return
	}
	d.kept = s
	s.expiry = time.AfterFunc(idle, func() {
		_ = d.through(context.Background(), func() error {
			if d.kept == s {
				d.kept = nil
				s.Close()
			}
			return nil
		})
	})
}

// hangUp ends the session that was kept.
func (d *Device) hangUp() {
	_ = d.through(context.Background(), func() error {
		if s := d.kept; s != nil {
			s.expiry.Stop()
			s.Close()
			d.kept = nil
		}
		return nil
	})
}

// able wants everything that a change needs, before any is made. What is missing is
// Unavailable, so that a device with new firmware is used without anybody's help.
func (d *Device) able(ctx context.Context, s *session) error {
	for _, c := range []struct{ capability, says string }{
		{client.Candidate, "candidate"}, {client.ConfirmedCommit, "confirmed-commit"},
	} {
		if !s.Can(c.capability) {
			return fault.New(fault.Unavailable, "%s does not advertise the capability %s: a change of it could not be taken back", d.target.Address, c.says)
		}
	}
	m, ok, err := d.module(ctx, s, module8177)
	switch {
	case err != nil:
		return err
	case !ok:
		return fault.New(fault.Unavailable, "%s does not advertise the module %s (RFC 8177): it has no key chains that can be driven", d.target.Address, module8177)
	case !slices.Contains(m.Features, "independent-send-accept-lifetime"):
		return fault.New(fault.Unavailable, "%s does not advertise the feature independent-send-accept-lifetime of %s: it cannot stage", d.target.Address, module8177)
	}
	for _, l := range d.links {
		if l.format == hexadecimal && !slices.Contains(m.Features, "hex-key-string") {
			return fault.New(fault.Unavailable, "%s does not advertise the feature hex-key-string of %s: set keyFormat to %s", d.target.Address, module8177, keystring)
		}
		if _, ok, err := d.module(ctx, s, l.module); err != nil {
			return err
		} else if !ok {
			return fault.New(fault.Unavailable, "%s does not advertise the module %s of algorithm %s", d.target.Address, l.module, l.algorithm)
		}
	}
	return nil
}

// module asks once for each module.
func (d *Device) module(ctx context.Context, s *session, name string) (client.Module, bool, error) {
	if namespace, ok := s.namespaces[name]; ok {
		return client.Module{Namespace: namespace}, true, nil
	}
	m, ok, err := s.Module(ctx, name)
	if err != nil {
		return client.Module{}, false, fault.Wrap(fault.Unavailable, err, "ask %s for its modules", d.target.Address)
	}
	if ok {
		s.namespaces[name] = m.Namespace
	}
	return m, ok, nil
}
