package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// keptOwn is how many of somebody's requests, and of their votes, are kept at least: older
// ones go when there is no more use for them, and all after keptFor.
const (
	keptOwn = 200
	keptFor = 120 * 24 * time.Hour
)

// Approvals is what there is of approvals, at one moment.
type Approvals struct {
	Rules    approval.InForce // without a Revision: none are pinned
	Policies topology.Pinned
	// Pinned is the revision of Policies; zero: declared ones count.
	Pinned int64
	Asked  []approval.Asked
}

// Approvals reads them all. Broken documents are named by a Mismatch error, which comes
// with the rest.
func (s *Store) Approvals(ctx context.Context) (Approvals, error) {
	entries, _, err := s.list(ctx, s.keys.approvals())
	if err != nil {
		return Approvals{}, err
	}
	c := noConsents()
	var errs []error
	for _, e := range entries {
		if p, ok := s.keys.parse(e.key); ok {
			errs = append(errs, c.put(s, p, e))
		}
	}
	return Approvals{Rules: c.rules, Policies: c.policies, Pinned: c.pinned, Asked: c.all()}, errors.Join(errs...)
}

// Ask writes a request for approvals, in the name of whom this Store is, and forgets
// those of the same person that ended long ago. Faults: Invalid when the plan is of
// somebody else, or does not fit (a megabyte).
func (s *Store) Ask(ctx context.Context, r approval.Request, records ...audit.Record) error {
	if r.Plan.Requester != s.writer() {
		return fault.New(fault.Invalid, "ask for approvals: the plan is of %s, and this is %s", r.Plan.Requester, s.writer())
	}
	return s.putApproval(ctx, s.keys.request(s.writer(), r.ID()), r, s.keys.requestsOf(s.writer()), records)
}

// Vote writes what this Store's identity says to a request, in place of what it said
// before. Faults: Invalid for an ID that cannot be.
func (s *Store) Vote(ctx context.Context, id string, v approval.Vote, records ...audit.Record) error {
	if err := approval.ValidID(id); err != nil {
		return err
	}
	return s.putApproval(ctx, s.keys.vote(s.writer(), id), v, s.keys.votesOf(s.writer()), records)
}

func (s *Store) putApproval(ctx context.Context, key string, v any, own span, records []audit.Record) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write %s", key)
	}
	if len(doc) > maxBytes {
		return fault.New(fault.Invalid, "write %s: it has %d bytes, and at most %d fit: choose fewer links", key, len(doc), maxBytes)
	}
	n, err := s.note(records)
	if err != nil {
		return err
	}
	ops := append(s.inbox(n), clientv3.OpPut(key, string(doc)))
	entries, _, err := s.list(ctx, own)
	if err != nil {
		return err
	}
	for _, old := range needless(entries, own, time.Now()) {
		if len(ops) < maxOps && old != key {
			ops = append(ops, clientv3.OpDelete(old))
		}
	}
	_, _, err = s.transact(ctx, nil, ops...)
	return s.failed(ctx, err, "write %s to etcd", key)
}

// needless are the keys of somebody's requests, or votes, that are kept no more: those of
// requests that are over, beyond the newest. Entries come in the order of their keys, which is
// that of their times.
func needless(entries []entry, own span, now time.Time) (keys []string) {
	for i, e := range entries {
		id := e.key[len(own.from):]
		if approval.Over(id, now) && (i < len(entries)-keptOwn || approval.Over(id, now.Add(approval.MaxDeadline-keptFor))) {
			keys = append(keys, e.key)
		}
	}
	return keys
}

// ForgetEnds forgets that requests have ended, of which nobody can make use any more: see
// View.EndsOver.
func (s *Store) ForgetEnds(ctx context.Context, ids []string) error {
	var ops []clientv3.Op
	for _, id := range ids {
		ops = append(ops, clientv3.OpDelete(s.keys.ended(id)))
	}
	for chunk := range slices.Chunk(ops, maxOps) {
		if _, _, err := s.transact(ctx, nil, chunk...); err != nil {
			return s.failed(ctx, err, "forget requests for approvals that have ended")
		}
	}
	return nil
}

// PutConsented is PutCampaign for a campaign that is new and needed approvals: with
// it, in the same transaction, the request ends as used. It gives Refused when the request
// has ended meanwhile, and Stale when the rules have changed, or the campaign is there.
func (s *Store) PutConsented(ctx context.Context, r campaign.Record, c approval.Consent, records ...audit.Record) (int64, error) {
	if err := validCampaign(r.Name); err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "write a campaign")
	}
	r.Revision = 0
	doc, err := json.Marshal(r)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "write campaign %s", r.Name)
	}
	n, err := s.campaignNotes(ctx, r, 0, records)
	if err != nil {
		return 0, err
	}
	key := s.keys.campaign(r.Name)
	return s.use(ctx, c, []clientv3.Cmp{at(key, 0)}, append(s.inbox(n), clientv3.OpPut(key, string(doc)))...)
}

// UseApprovals ends a request as used, for something that is not in etcd itself.
// Faults are those of PutConsented.
func (s *Store) UseApprovals(ctx context.Context, c approval.Consent, records ...audit.Record) error {
	n, err := s.note(records)
	if err != nil || c.Again {
		return err
	}
	_, err = s.use(ctx, c, nil, s.inbox(n)...)
	return err
}

// use runs a transaction with which a request ends. Its outcome, when that is unknown,
// is looked up.
func (s *Store) use(ctx context.Context, c approval.Consent, guards []clientv3.Cmp, ops ...clientv3.Op) (int64, error) {
	if err := approval.ValidID(c.End.ID); err != nil {
		return 0, err
	}
	doc, err := json.Marshal(c.End)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "use approval %s", c.End.ID)
	}
	key := s.keys.ended(c.End.ID)
	guards = append(guards, at(key, 0), at(s.keys.rulesInForce(), c.Rules))
	ops = append(ops, clientv3.OpPut(key, string(doc)))
	held, rev, err := s.transact(ctx, guards, ops...)
	if held {
		return rev, nil
	}
	err = s.failed(ctx, err, "use approval %s", c.End.ID)
	if fault.Is(err, fault.Refused) || fault.Is(err, fault.Invalid) {
		return 0, err
	}
	found, lookup := s.read(ctx, []string{key, s.keys.rulesInForce()})
	switch e := found[key]; {
	case lookup != nil:
		return 0, lookup
	case e.mod != 0 && string(e.value) == string(doc): // this very call, whose answer was lost
		return e.mod, nil
	case e.mod != 0:
		return 0, fault.New(fault.Refused, "approval %s: it was used already", c.End.ID)
	case found[s.keys.rulesInForce()].mod != c.Rules:
		return 0, fault.New(fault.Stale, "use approval %s: the rules have changed meanwhile", c.End.ID)
	case err != nil:
		return 0, err
	}
	return 0, fault.New(fault.Stale, "use approval %s: somebody else was faster", c.End.ID)
}

// EndApproval ends a request that has expired or was rejected. One that has ended
// already stays as it is.
func (s *Store) EndApproval(ctx context.Context, end approval.End, records ...audit.Record) error {
	n, err := s.note(records)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(end)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "end approval %s", end.ID)
	}
	key := s.keys.ended(end.ID)
	_, _, err = s.transact(ctx, []clientv3.Cmp{at(key, 0)}, append(s.inbox(n), clientv3.OpPut(key, string(doc)))...)
	return s.failed(ctx, err, "end approval %s", end.ID)
}

// PinRules puts rules into force, in place of those that have f's Revision. With a
// consent, its request ends as used. Faults are those of PutConsented.
func (s *Store) PinRules(ctx context.Context, f approval.InForce, c approval.Consent, records ...audit.Record) error {
	return s.pin(ctx, s.keys.rulesInForce(), f.Revision, f, c, records)
}

// PinPolicies puts policies into force, in place of those that have a revision.
func (s *Store) PinPolicies(ctx context.Context, p topology.Pinned, revision int64, c approval.Consent, records ...audit.Record) error {
	return s.pin(ctx, s.keys.policiesInForce(), revision, p, c, records)
}

// FreePolicies is for when no rule asks for approvals of policies any more: those that are
// declared count. Rules is the revision of the rules in force that say so. It gives Stale
// when those, or what is pinned, are others meanwhile.
func (s *Store) FreePolicies(ctx context.Context, revision, rules int64, records ...audit.Record) error {
	n, err := s.note(records)
	if err != nil {
		return err
	}
	key := s.keys.policiesInForce()
	held, _, err := s.transact(ctx, []clientv3.Cmp{at(key, revision), at(s.keys.rulesInForce(), rules)}, append(s.inbox(n), clientv3.OpDelete(key))...)
	if err == nil && !held {
		return fault.New(fault.Stale, "free the policies: somebody else changed them, or the rules, meanwhile")
	}
	return s.failed(ctx, err, "free the policies")
}

func (s *Store) pin(ctx context.Context, key string, revision int64, v any, c approval.Consent, records []audit.Record) error {
	n, err := s.note(records)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write %s", key)
	}
	guards, ops := []clientv3.Cmp{at(key, revision)}, append(s.inbox(n), clientv3.OpPut(key, string(doc)))
	if c.Needed() {
		_, err := s.use(ctx, c, guards, ops...)
		return err
	}
	held, _, err := s.transact(ctx, guards, ops...)
	if err == nil && !held {
		return fault.New(fault.Stale, "write %s: somebody else changed it meanwhile", key)
	}
	return s.failed(ctx, err, "write %s", key)
}

// rules reads the rules in force.
func (s *Store) rules(e entry) (approval.InForce, error) {
	var f approval.InForce
	if err := decode(e, &f); err != nil {
		return approval.InForce{Broken: true, Revision: e.mod}, err
	}
	f.Revision = e.mod
	for _, r := range f.Rules {
		if len(r.Problems()) > 0 {
			return approval.InForce{Broken: true, Revision: e.mod}, broken(e.key)
		}
	}
	return f, nil
}

// policies reads the policies in force.
func (s *Store) policies(e entry) (p topology.Pinned, err error) {
	err = decode(e, &p)
	if err != nil {
		p = topology.Pinned{}
	}
	return p, err
}

// ended reads the end of a request.
func (s *Store) ended(e entry) (approval.End, error) {
	var end approval.End
	if err := decode(e, &end); err != nil {
		return approval.End{}, err
	}
	if s.keys.ended(end.ID) != e.key {
		return approval.End{}, broken(e.key)
	}
	return end, nil
}

// request reads a request: who has written it is in its key, and what it is follows
// from its content.
func (s *Store) request(e entry) (approval.Asked, error) {
	p, ok := s.keys.parse(e.key)
	var r approval.Request
	if err := decode(e, &r); err != nil || !ok {
		return approval.Asked{}, broken(e.key)
	}
	if len(p.names) != 3 || r.ID() != p.names[2] {
		return approval.Asked{}, broken(e.key)
	}
	return approval.Asked{Request: r, By: p.names[1]}, nil
}

// vote reads a vote: who has written it is in its key.
func (s *Store) vote(e entry) (approval.Vote, error) {
	p, ok := s.keys.parse(e.key)
	var v approval.Vote
	if err := decode(e, &v); err != nil || !ok || len(p.names) != 3 {
		return approval.Vote{}, broken(e.key)
	}
	v.By = p.names[1]
	return v, nil
}
