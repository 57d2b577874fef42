package haproxy

import (
	"bytes"
	"context"
	"errors"

	"github.com/keyorch/keyorch/fault"
)

// reload has the master start a worker anew, from its configuration and key files,
// and waits until the worker before takes no more connections. Errors: Unavailable
// (the worker is still the one before), Unknown.
func (m master) reload(ctx context.Context) error {
	before, err := m.processes(ctx)
	if err != nil {
		return err
	}
	var said error
	sent, err := m.exchange(ctx, []byte("reload\n"), func(b []byte) { said = known(b) })
	switch {
	case err != nil && !sent:
		return m.unreachable(err)
	case err != nil && !errors.Is(err, errNoAnswer): // HAProxy 2.6 answers nothing
		return fault.Wrap(fault.Unknown, err, "reload haproxy at %s", m.socket)
	case said != nil:
		return fault.Wrap(fault.Unavailable, said, "reload haproxy at %s", m.socket)
	}
	for {
		now, err := m.processes(ctx)
		switch {
		case ctx.Err() != nil:
			return fault.Wrap(fault.Unknown, ctx.Err(), "reload haproxy at %s: it does not say what became of it", m.socket)
		case err == nil && now.worker != "" && now.worker != before.worker:
			return m.retired(ctx, now.old)
		case err == nil && now.reloads != before.reloads && now.failed:
			return fault.New(fault.Unavailable, "reload haproxy at %s: it cannot load its configuration and goes on as it was: run haproxy -c -f with its configuration file, and mend it", m.socket)
		}
		pause(ctx)
	}
}

func (m master) processes(ctx context.Context) (processes, error) {
	var p processes
	var bad error
	if err := m.ask(ctx, "show proc", func(b []byte) { p, bad = parseProcesses(b) }); err != nil {
		return processes{}, err
	}
	return p, fault.Wrap(fault.Unavailable, bad, "ask haproxy at %s for its processes", m.socket)
}

// retired waits until none of these workers takes connections: until then tickets
// may still be issued from the ring before.
func (m master) retired(ctx context.Context, workers []string) error {
	for _, pid := range workers {
		for gone := false; !gone; {
			err := m.ask(ctx, "@!"+pid+" show info", func(b []byte) {
				gone = bytes.Contains(b, []byte("\nStopping: 1")) || bytes.Contains(b, []byte("Can't find the target"))
			})
			if ctx.Err() != nil {
				return fault.Wrap(fault.Unknown, errors.Join(ctx.Err(), err), "reload haproxy at %s: worker %s still takes connections", m.socket, pid)
			}
			if !gone {
				pause(ctx)
			}
		}
	}
	return nil
}
