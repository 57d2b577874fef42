package store

import (
	"context"
	"encoding/json"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// Enrolment is what is known of a name: who has it now, or had it last. The
// administrator writes it, operators read it.
type Enrolment struct {
	// Identity is the latest that had the name, with its generation.
	Identity identity.Identity `json:"identity"`
	// Auth is how it logs in to Vault.
	Auth identity.Auth `json:"auth"`
	At   time.Time     `json:"at"`
	By   string        `json:"by"`
	// RevokedAt is zero while the enrolment stands.
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	RevokedBy string    `json:"revoked_by,omitempty"`
	// Revision is that of the record in etcd; zero: there is none.
	Revision int64 `json:"-"`
}

// Next is the identity with which the name can be enrolled: the same one while it
// stands, and the next generation after it was revoked.
func (e Enrolment) Next() identity.Identity {
	next := e.Identity
	if !e.RevokedAt.IsZero() {
		next.Generation++
	}
	return next
}

// Enrolments gives them all, sorted by name. A broken document is left out and named
// by a Mismatch error, which comes with the rest.
func (s *Store) Enrolments(ctx context.Context) ([]Enrolment, error) {
	return readAll(ctx, s, s.keys.enrolments(), s.enrolment)
}

// Enrolment gives that of a name, whatever the generation of i. Without a record it is
// one of the first generation with Revision zero. Faults: Mismatch for a broken
// document; Invalid.
func (s *Store) Enrolment(ctx context.Context, i identity.Identity) (Enrolment, error) {
	if err := i.Valid(); err != nil {
		return Enrolment{}, fault.Wrap(fault.Invalid, err, "read the enrolment of %s", i)
	}
	key := s.keys.enrolment(i)
	found, err := s.read(ctx, []string{key})
	if err != nil {
		return Enrolment{}, err
	}
	e, ok := found[key]
	if !ok {
		i.Generation = 0
		return Enrolment{Identity: i}, nil
	}
	return s.enrolment(e)
}

func (s *Store) enrolment(e entry) (Enrolment, error) {
	var x Enrolment
	if err := decode(e, &x); err != nil {
		return Enrolment{}, err
	}
	if x.Identity.Valid() != nil || s.keys.enrolment(x.Identity) != e.key {
		return Enrolment{}, broken(e.key)
	}
	x.Revision = e.mod
	return x, nil
}

// PutEnrolment writes an enrolment, and says so in the trail with the records that come
// with it, over the revision that it names (zero: there must
// be none), and gives the new one. Faults: Stale when somebody else has written it
// meanwhile; Refused for a generation that has been there before, since what was
// revoked never comes back; Invalid.
func (s *Store) PutEnrolment(ctx context.Context, e Enrolment, records ...audit.Record) (int64, error) {
	before, err := s.Enrolment(ctx, e.Identity)
	if err != nil {
		return 0, err
	}
	stale := fault.New(fault.Stale, "enrol %s: somebody else enrolled or revoked it meanwhile", e.Identity)
	if before.Revision != e.Revision {
		return 0, stale
	}
	revoked := !before.RevokedAt.IsZero()
	same := e.Identity.Generation == before.Identity.Generation
	if e.Identity.Generation < before.Identity.Generation || same && revoked && e.RevokedAt.IsZero() {
		return 0, fault.New(fault.Refused, "enrol %s: it was revoked: the next is %s", e.Identity, before.Next())
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "enrol %s", e.Identity)
	}
	own := audit.Record{Kind: audit.Enrolment, Verb: audit.Enrolled, Site: e.Identity.Site, Node: e.Identity.Node,
		Details: map[string]string{"identity": e.Identity.CommonName()}}
	if !e.RevokedAt.IsZero() {
		own.Verb = audit.Revoked
	}
	n, err := s.note(append(records, own))
	if err != nil {
		return 0, err
	}
	key := s.keys.enrolment(e.Identity)
	held, rev, err := s.transact(ctx, []clientv3.Cmp{at(key, e.Revision)}, append(s.inbox(n), clientv3.OpPut(key, string(doc)))...)
	if err == nil && !held {
		return 0, stale
	}
	return rev, s.failed(ctx, err, "enrol %s", e.Identity)
}
