package main

import (
	"context"

	"github.com/keyorch/keyorch/e2e/devices/guest/protocol"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

func (d *daemon) flow(_ context.Context, s testbed.FlowSpec) (protocol.ID, error) {
	f, err := testbed.StartFlow(s)
	if err != nil {
		return protocol.ID{}, err
	}
	return keep(d, d.flows, f), nil
}

func (d *daemon) mark(_ context.Context, id protocol.ID) (protocol.Number, error) {
	f, err := find(d, d.flows, id.ID)
	if err != nil {
		return protocol.Number{}, err
	}
	return protocol.Number{N: f.Mark()}, nil
}

func (d *daemon) arrived(_ context.Context, id protocol.ID) (protocol.Number, error) {
	f, err := find(d, d.flows, id.ID)
	if err != nil {
		return protocol.Number{}, err
	}
	return protocol.Number{N: uint64(f.Arrived())}, nil
}

func (d *daemon) since(_ context.Context, w protocol.Window) (testbed.Count, error) {
	f, err := find(d, d.flows, w.ID)
	if err != nil {
		return testbed.Count{}, err
	}
	return f.Since(w.From), nil
}

func (d *daemon) stop(_ context.Context, id protocol.ID) (testbed.Count, error) {
	f, err := find(d, d.flows, id.ID)
	if err != nil {
		return testbed.Count{}, err
	}
	d.mu.Lock()
	delete(d.flows, id.ID)
	d.mu.Unlock()
	return f.Stop(), nil
}
