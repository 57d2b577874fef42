package agents

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// ordered is an order as the journal has it.
type ordered struct {
	Turn   keychain.Turn  `json:"turn"`
	Accept []store.Wanted `json:"accept,omitempty"`
	Send   store.Wanted   `json:"send,omitzero"`
}

// note is an order on its way into the journal.
type note struct {
	turn keychain.Turn
	doc  []byte
	sum  uint64
}

// note makes one of o. It is fresh unless the file is known to hold that very order.
func (j *Journal) note(node keychain.NodeID, o store.Order) (n note, fresh bool) {
	n.turn = o.Turn
	n.doc, _ = json.Marshal(ordered{o.Turn, o.Accept, o.Send}) // names and numbers: it cannot fail
	h := fnv.New64a()
	_, _ = h.Write(n.doc)
	n.sum = h.Sum64()
	key := string(entryKey(node, o.Link))
	j.mu.Lock()
	defer j.mu.Unlock()
	had, ok := j.orders[key]
	if !ok {
		ok = j.db.View(func(tx *bbolt.Tx) error {
			return compare(tx.Bucket([]byte(notedBucket)).Get([]byte(key)), n.doc)
		}) == nil
		if ok {
			j.orders[key], had = n.sum, n.sum
		}
	}
	return n, !ok || had != n.sum
}

// compare is an error unless a and b are the same.
func compare(a, b []byte) error {
	if bytes.Equal(a, b) {
		return nil
	}
	return errDamaged
}

// lastOrder is the last order of a link of node that was taken in; false when the file
// has none, as one from before orders were kept.
func (j *Journal) lastOrder(node keychain.NodeID, link keychain.LinkID) (n ordered, ok bool, err error) {
	err = j.db.View(func(tx *bbolt.Tx) error {
		doc := tx.Bucket([]byte(notedBucket)).Get(entryKey(node, link))
		if doc == nil {
			return nil
		}
		ok = true
		if json.Unmarshal(doc, &n) != nil {
			return errDamaged
		}
		return nil
	})
	return n, ok && err == nil, fault.Wrap(fault.Unavailable, err, "read the journal of %s", link)
}

// otherwise reports whether the order of the same Turn that was taken in asks for other
// keys than o: one of the two was made on an older copy of etcd.
func (j *Journal) otherwise(node keychain.NodeID, o store.Order) bool {
	if _, fresh := j.note(node, o); !fresh {
		return false
	}
	last, ok, err := j.lastOrder(node, o.Link)
	return err == nil && ok && last.Turn == o.Turn &&
		!rewrapped(store.Order{Turn: last.Turn, Accept: last.Accept, Send: last.Send}, o)
}

// links are those of node that the file knows of.
func (j *Journal) links(node keychain.NodeID) (ids []keychain.LinkID, err error) {
	from := string(node) + "/"
	err = j.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(linksBucket)).Cursor()
		for k, _ := c.Seek([]byte(from)); k != nil && strings.HasPrefix(string(k), from); k, _ = c.Next() {
			ids = append(ids, keychain.LinkID(strings.TrimPrefix(string(k), from)))
		}
		return nil
	})
	return ids, fault.Wrap(fault.Unavailable, err, "read the journal of %s", node)
}
