package netconf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	module8177    = "ietf-key-chain"
	namespace8177 = "urn:ietf:params:xml:ns:yang:ietf-key-chain"
)

// filter selects what has to be read of one key chain: everything but the key
// strings, so that no device sends any.
func filter(chain string) string {
	return fmt.Sprintf(`<key-chains xmlns="%s"><key-chain><name>%s</name><description/><key><key-id/><lifetime/></key></key-chain></key-chains>`,
		namespace8177, client.Text(chain))
}

// tree is the data that comes back.
type tree struct {
	Chains []struct {
		Name        string    `xml:"name"`
		Description string    `xml:"description"`
		Keys        []treeKey `xml:"key"`
	} `xml:"urn:ietf:params:xml:ns:yang:ietf-key-chain key-chains>key-chain"`
}

type treeKey struct {
	ID       string `xml:"key-id"`
	Lifetime struct {
		Both   *lifetime `xml:"send-accept-lifetime"`
		Send   *lifetime `xml:"send-lifetime"`
		Accept *lifetime `xml:"accept-lifetime"`
	} `xml:"lifetime"`
}

// lifetime is when a key may be used (RFC 8177, grouping lifetime).
type lifetime struct {
	Always   *struct{} `xml:"always"`
	Start    string    `xml:"start-date-time"`
	End      string    `xml:"end-date-time"`
	Duration int64     `xml:"duration"` // seconds
}

// holds reports whether l is valid at now. No lifetime at all is valid: devices
// take it so, and it is the side on which nothing is overlooked.
func (l *lifetime) holds(now time.Time) (bool, error) {
	if l == nil || l.Always != nil || l.Start == "" {
		return true, nil
	}
	start, err := time.Parse(time.RFC3339, strings.TrimSpace(l.Start))
	if err != nil {
		return false, fmt.Errorf("a start-date-time that is no time")
	}
	if now.Before(start) {
		return false, nil
	}
	switch {
	case l.End != "":
		end, err := time.Parse(time.RFC3339, strings.TrimSpace(l.End))
		if err != nil {
			return false, fmt.Errorf("an end-date-time that is no time")
		}
		return now.Before(end), nil
	case l.Duration > 0:
		return now.Unix()-start.Unix() < l.Duration, nil
	}
	return true, nil
}

// held is one key of a chain. The Ref is zero for a stranger's.
type held struct {
	id      uint64
	ref     keychain.Ref
	accepts bool
	sends   bool
}

func (h held) stranger() bool { return h.ref.IsZero() }

// chain is a key chain as it is.
type chain struct {
	note note
	keys []held // sorted by key-id
}

// chainOf reads what the device sent about the key chain name. What it means is
// judged at now.
func chainOf(t tree, name string, now time.Time) (chain, error) {
	for _, one := range t.Chains {
		if one.Name != name {
			continue // a device that does not filter
		}
		c := chain{note: parseNote(one.Description)}
		for _, k := range one.Keys {
			h, err := k.held(c.note, now)
			if err != nil {
				return chain{}, fmt.Errorf("key chain %s has %w", name, err)
			}
			c.keys = append(c.keys, h)
		}
		slices.SortFunc(c.keys, func(a, b held) int { return cmp.Compare(a.id, b.id) })
		return c, nil
	}
	return chain{}, nil
}

func (k treeKey) held(n note, now time.Time) (held, error) {
	var h held
	if _, err := fmt.Sscan(k.ID, &h.id); err != nil {
		return held{}, fmt.Errorf("a key whose key-id is no number")
	}
	h.ref = n.refs[h.id]
	send, accept := k.Lifetime.Send, k.Lifetime.Accept
	if k.Lifetime.Both != nil {
		send, accept = k.Lifetime.Both, k.Lifetime.Both
	}
	var err, other error
	h.sends, err = send.holds(now)
	h.accepts, other = accept.holds(now)
	if err = cmp.Or(err, other); err != nil {
		return held{}, fmt.Errorf("key %d with %w", h.id, err)
	}
	return h, nil
}

// ours are the keys with an entry in the note.
func (c chain) ours() []held {
	return slices.DeleteFunc(slices.Clone(c.keys), held.stranger)
}

// epoch is the key of an epoch.
func (c chain) epoch(e keychain.Epoch) (held, bool) {
	i := slices.IndexFunc(c.keys, func(h held) bool { return !h.stranger() && h.ref.Epoch == e })
	if i < 0 {
		return held{}, false
	}
	return c.keys[i], true
}

// judge is an error where the chain is not what a driver may work on: it belongs to
// another link, or says of two keys that they are of one epoch.
func (c chain) judge(name string, id keychain.LinkID) error {
	if c.note.link != "" && c.note.link != id {
		return fault.New(fault.Unavailable, "key chain %s is that of link %s, as its description says: give link %s a key chain of its own, "+
			"or take keyorch's entry out of the description and its keys out of the chain", name, c.note.link, id)
	}
	seen := map[keychain.Epoch]uint64{}
	for _, h := range c.ours() {
		if other, ok := seen[h.ref.Epoch]; ok {
			return fault.New(fault.Mismatch, "key chain %s has epoch %d twice, as its description says: keys %d and %d", name, h.ref.Epoch, other, h.id)
		}
		seen[h.ref.Epoch] = h.id
	}
	return nil
}

// accepted are the keys that are accepted, sorted by epoch.
func (c chain) accepted() []keychain.Ref {
	var refs []keychain.Ref
	for _, h := range c.ours() {
		if h.accepts {
			refs = append(refs, h.ref)
		}
	}
	slices.SortFunc(refs, func(a, b keychain.Ref) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return refs
}

// holds are all of ours, whatever they are good for.
func (c chain) holds() []keychain.Ref {
	var refs []keychain.Ref
	for _, h := range c.ours() {
		refs = append(refs, h.ref)
	}
	slices.SortFunc(refs, func(a, b keychain.Ref) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return slices.Compact(refs)
}

// sent is the key that is sent with. Where two of ours may be, nobody knows which
// one is, and none is shown: the next Switch puts that right. A stranger's beside
// one of ours is an error, for only its owner can.
func (c chain) sent(name string) (keychain.Ref, error) {
	var ref keychain.Ref
	n := 0
	for _, h := range c.ours() {
		if h.sends {
			ref = h.ref
			n++
		}
	}
	if n > 0 {
		if err := c.strangerSends(name); err != nil {
			return keychain.Ref{}, err
		}
	}
	if n != 1 {
		return keychain.Ref{}, nil
	}
	return ref, nil
}

// strangerSends is an error where a key is sent with that is not ours.
func (c chain) strangerSends(name string) error {
	for _, h := range c.keys {
		if h.stranger() && h.sends {
			return fault.New(fault.Unavailable, "key %d of key chain %s is not keyorch's (the description has no entry for it), "+
				"and it may be sent with: delete it, or end its send-lifetime", h.id, name)
		}
	}
	return nil
}
