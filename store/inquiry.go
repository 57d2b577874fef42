package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Inquiry asks the agent of a node what the node holds, for a recovery: for each of
// the links one Testimony with the ID.
type Inquiry struct {
	ID    string  `json:"id"`
	Links []Asked `json:"links"`
}

// Asked is one link that an agent is asked about, and on which sides.
type Asked struct {
	Link    keychain.LinkID `json:"link"`
	Accepts bool            `json:"accepts,omitempty"`
	Sends   bool            `json:"sends,omitempty"`
}

// Testimony is what a node holds of one link: what its device shows, and what its
// journal knows.
type Testimony struct {
	Inquiry string          `json:"inquiry"`
	Site    keychain.SiteID `json:"site"`
	Node    keychain.NodeID `json:"node"`
	Link    keychain.LinkID `json:"link"`
	// Turn, Started and Lost are the journal's.
	Turn    keychain.Turn    `json:"turn,omitempty"`
	Started []keychain.Epoch `json:"started,omitempty"`
	Lost    []keychain.Epoch `json:"lost,omitempty"`
	// Accepts and Sends are what the device shows, Blind why it could not be read.
	Accepts []keychain.Ref `json:"accepts,omitempty"`
	Sends   keychain.Ref   `json:"sends,omitzero"`
	Blind   string         `json:"blind,omitempty"`
	// Noted says that the journal has the last order that the node took in, and Accept
	// and Send are what that asks for, with the wrapped keys.
	Noted  bool      `json:"noted,omitempty"`
	Accept []Wanted  `json:"accept,omitempty"`
	Send   Wanted    `json:"send,omitzero"`
	At     time.Time `json:"at"`
}

// inquiryLinks is how many links one document of an inquiry has.
const inquiryLinks = 2000

// Place is a node and where it stands.
type Place struct {
	Site keychain.SiteID
	Node keychain.NodeID
}

// Inquire asks the agents of nodes about links, in place of whatever was asked before.
// Only the administrator may. Faults: Invalid.
func (s *Store) Inquire(ctx context.Context, id string, nodes map[Place][]Asked) error {
	if err := s.EndInquiry(ctx); err != nil {
		return err
	}
	var puts []clientv3.Op
	for at, links := range nodes {
		if err := validNames(string(at.Site), string(at.Node)); err != nil {
			return fault.Wrap(fault.Invalid, err, "ask the agent of %s", at.Node)
		}
		page := 0
		for chunk := range slices.Chunk(links, inquiryLinks) {
			doc, err := json.Marshal(Inquiry{ID: id, Links: chunk})
			if err != nil {
				return fault.Wrap(fault.Invalid, err, "ask the agent of %s", at.Node)
			}
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%06d", s.keys.inquiries(at.Site, at.Node).from, page), string(doc)))
			page++
		}
	}
	for chunk := range slices.Chunk(puts, 4) { // some hundred kilobytes
		if _, _, err := s.transact(ctx, nil, chunk...); err != nil {
			return s.failed(ctx, err, "ask the agents in etcd")
		}
	}
	return nil
}

// EndInquiry takes back what was asked, and what was answered.
func (s *Store) EndInquiry(ctx context.Context) error {
	sp := s.keys.recovery()
	_, _, err := s.transact(ctx, nil, clientv3.OpDelete(sp.from, clientv3.WithRange(sp.to)))
	return s.failed(ctx, err, "end the inquiry in etcd")
}

// Answers is how many testimonies there are.
func (s *Store) Answers(ctx context.Context) (int, error) {
	sp := s.keys.allTestimonies()
	resp, err := s.get(ctx, sp.from, clientv3.WithRange(sp.to), clientv3.WithCountOnly())
	if err != nil {
		return 0, s.failed(ctx, err, "count the answers in etcd")
	}
	return int(resp.Count), nil
}

// Testimonies gives the answers to an inquiry. A broken one is left out and named by a
// Mismatch error, which comes with the rest.
func (s *Store) Testimonies(ctx context.Context, id string) ([]Testimony, error) {
	all, err := readAll(ctx, s, s.keys.allTestimonies(), s.testimony)
	return slices.DeleteFunc(all, func(t Testimony) bool { return t.Inquiry != id }), err
}

func (s *Store) testimony(e entry) (Testimony, error) {
	var t Testimony
	if err := decode(e, &t); err != nil {
		return Testimony{}, err
	}
	if s.keys.testimonies(t.Site, t.Node).from+string(t.Link) != e.key {
		return Testimony{}, broken(e.key)
	}
	return t, nil
}

// Testify answers an inquiry. Nothing is written once the tenure has ended (Stale).
func (t *Tenure) Testify(ctx context.Context, said []Testimony) error {
	for chunk := range slices.Chunk(said, maxOps/2) {
		var puts []clientv3.Op
		for _, x := range chunk {
			doc, err := json.Marshal(x)
			if err == nil {
				err = validNames(x.Link)
			}
			if err != nil {
				return fault.Wrap(fault.Invalid, err, "testify of %s", x.Link)
			}
			puts = append(puts, clientv3.OpPut(t.s.keys.testimonies(t.site, t.node).from+string(x.Link), string(doc)))
		}
		held, _, err := t.s.transact(ctx, []clientv3.Cmp{at(t.key, t.mod)}, puts...)
		if err != nil {
			return t.s.failed(ctx, err, "testify of %s", chunk[0].Link)
		}
		if !held {
			t.end()
			return t.over()
		}
	}
	return nil
}

// WatchInquiries calls f with what the agent of a node is asked, until ctx ends; f is
// never called twice at a time. What cannot be read is left out. It returns ctx's error,
// or Refused when etcd denies the permission.
func (s *Store) WatchInquiries(ctx context.Context, site keychain.SiteID, node keychain.NodeID, f func([]Inquiry)) error {
	return s.follow(ctx, s.keys.inquiries(site, node), inquiryFollower{f})
}

type inquiryFollower struct{ f func([]Inquiry) }

func (q inquiryFollower) load(entries []entry, _ int64) {
	var asked []Inquiry
	for _, e := range entries {
		var i Inquiry
		if decode(e, &i) == nil {
			asked = append(asked, i)
		}
	}
	if len(asked) > 0 {
		q.f(asked)
	}
}

func (q inquiryFollower) apply(changes []change, rev int64) {
	var entries []entry
	for _, c := range changes {
		if !c.deleted {
			entries = append(entries, c.entry)
		}
	}
	q.load(entries, rev)
}

// Keys are wrapped keys by epoch.
type Keys = map[keychain.Epoch]keychain.Wrapped

// Rebuilt is a record that was made from testimonies, with the wrapped keys that came
// with them. Those win over what is stored: after a rotation on an old copy of etcd an
// epoch may have got a second key, which no node has.
type Rebuilt struct {
	Change
	Keys Keys
	// Records go to the trail in the same transaction.
	Records []audit.Record
}

// brought is what comes with a change of a recovery.
type brought struct {
	keys    Keys
	records []audit.Record
}

func (s *Store) addBrought(u *unit, given brought) error {
	n, err := s.note(given.records)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "recover %s", u.doc.Record.Link)
	}
	u.notes, u.size = u.notes.and(n), u.size+n.size()
	return nil
}

// Recover writes records that were rebuilt, with their orders, as Commit does. A key
// that nobody has any more is left out of record and orders (see link.Key).
func (s *Store) Recover(ctx context.Context, rebuilt []Rebuilt) ([]Committed, error) {
	changes, given := make([]Change, len(rebuilt)), make([]brought, len(rebuilt))
	for i, r := range rebuilt {
		changes[i], given[i] = r.Change, brought{r.Keys, r.Records}
	}
	return s.commit(ctx, changes, given)
}

// Stored gives the records of all links, and the wrapped keys that stand beside them.
// A broken document is left out and named by a Mismatch error, which comes with the rest.
func (s *Store) Stored(ctx context.Context) (map[keychain.LinkID]link.Record, map[keychain.LinkID]Keys, error) {
	entries, err := s.linkEntries(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	records, keys := make(map[keychain.LinkID]link.Record, len(entries)), make(map[keychain.LinkID]Keys, len(entries))
	var errs []error
	for _, e := range entries {
		d, err := s.document(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		records[d.Record.Link], keys[d.Record.Link] = d.Record, d.Keys
	}
	return records, keys, errors.Join(errs...)
}
