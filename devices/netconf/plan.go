package netconf

import (
	"maps"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// span is a lifetime as the driver writes it: always or never, by years, so that
// the clocks of devices do not matter.
type span string

const (
	always span = "<always/>"
	// notYet begins at a time that a 32-bit clock can hold. It is for what has not
	// been used: some devices go on using the last key of which the time is over.
	notYet span = "<start-date-time>2037-01-01T00:00:00Z</start-date-time><no-end-time/>"
	over   span = "<start-date-time>2001-01-01T00:00:00Z</start-date-time><end-date-time>2001-01-02T00:00:00Z</end-date-time>"
)

// edit is what is to be done to one key.
type edit struct {
	id           uint64
	operation    string // "create", "replace", "delete"; "" changes lifetimes
	send, accept span   // "" leaves it as it is
}

// plan is a change of one chain: the edits, and what is ours then. No edits: there
// is nothing to do.
type plan struct {
	edits []edit
	after map[uint64]held // by key-id
}

func (c chain) plan() *plan {
	p := &plan{after: map[uint64]held{}}
	for _, h := range c.ours() {
		p.after[h.id] = h
	}
	return p
}

// add notes an edit, and what comes of it.
func (p *plan) add(e edit, ref keychain.Ref) {
	p.edits = append(p.edits, e)
	if e.operation == "delete" {
		delete(p.after, e.id)
		return
	}
	h := p.after[e.id]
	if e.operation != "" {
		h = held{id: e.id, ref: ref}
	}
	if e.send != "" {
		h.sends = e.send == always
	}
	if e.accept != "" {
		h.accepts = e.accept == always
	}
	p.after[e.id] = h
}

// refs are the entries of the note for what is ours then.
func (p *plan) refs() map[uint64]keychain.Ref {
	refs := map[uint64]keychain.Ref{}
	for id, h := range p.after {
		refs[id] = h.ref
	}
	return refs
}

// shows reports whether c is what the plan makes.
func (p *plan) shows(c chain) bool {
	now := map[uint64]held{}
	for _, h := range c.ours() {
		now[h.id] = h
	}
	return maps.Equal(now, p.after)
}

// install accepts ref under id as well.
func (c chain) install(name string, ref keychain.Ref, id uint64) (*plan, error) {
	p := c.plan()
	h, there, err := c.have(ref)
	switch {
	case err != nil:
		return nil, err
	case there && h.accepts:
		return p, nil
	case there:
		p.add(edit{id: h.id, accept: always}, ref)
		return p, nil
	}
	operation, err := c.room(name, id)
	if err != nil {
		return nil, err
	}
	p.add(edit{id: id, operation: operation, send: notYet, accept: always}, ref)
	return p, nil
}

// switchTo sends with ref, and with nothing else. A key of ours that is neither
// sent with nor accepted then goes.
func (c chain) switchTo(name string, ref keychain.Ref, id uint64) (*plan, error) {
	if err := c.strangerSends(name); err != nil {
		return nil, err
	}
	p := c.plan()
	h, there, err := c.have(ref)
	switch {
	case err != nil:
		return nil, err
	case there && h.sends:
		id = h.id
	case there:
		id = h.id
		p.add(edit{id: id, send: always}, ref)
	default:
		operation, err := c.room(name, id)
		if err != nil {
			return nil, err
		}
		p.add(edit{id: id, operation: operation, send: always, accept: notYet}, ref)
	}
	for _, old := range c.ours() {
		switch {
		case old.id == id:
		case !old.accepts:
			p.add(edit{id: old.id, operation: "delete"}, old.ref)
		case old.sends:
			p.add(edit{id: old.id, send: over}, old.ref)
		}
	}
	return p, nil
}

// remove accepts epoch no longer. A key that is still sent with stays for that.
func (c chain) remove(name string, epoch keychain.Epoch) (*plan, error) {
	p := c.plan()
	h, there := c.epoch(epoch)
	switch {
	case !there || !h.accepts:
		return p, nil
	case len(c.accepted()) == 1:
		return nil, fault.New(fault.Refused, "epoch %d is the last key that key chain %s accepts", epoch, name)
	case h.sends:
		p.add(edit{id: h.id, accept: over}, h.ref)
	default:
		p.add(edit{id: h.id, operation: "delete"}, h.ref)
	}
	return p, nil
}

// have is the key of ref's epoch, which must be that key.
func (c chain) have(ref keychain.Ref) (held, bool, error) {
	h, ok := c.epoch(ref.Epoch)
	if ok && h.ref != ref {
		return held{}, false, fault.New(fault.Mismatch, "the device has another key under epoch %d: its KCV is %s, not %s", ref.Epoch, h.ref.KCV, ref.KCV)
	}
	return h, ok, nil
}

// room says how a key gets under id: "create", or "replace" where a key of ours
// stands that is neither accepted nor sent with.
func (c chain) room(name string, id uint64) (string, error) {
	for _, h := range c.keys {
		switch {
		case h.id != id:
		case h.stranger():
			return "", fault.New(fault.Unavailable, "key %d of key chain %s is not keyorch's (the description has no entry for it), and its number is needed: "+
				"delete it, or give it another key-id", id, name)
		case h.accepts || h.sends:
			return "", fault.New(fault.Refused, "key %d of key chain %s is that of epoch %d, and is in use", id, name, h.ref.Epoch)
		default:
			return "replace", nil
		}
	}
	return "create", nil
}
