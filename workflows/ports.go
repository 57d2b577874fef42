package workflows

import (
	"context"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// Custodian mints link keys that it cannot read.
type Custodian interface {
	// Mint makes a new key for one epoch of a link, wrapped so that only the sites
	// of the link can open it. Faults: Refused (no such KEK, or not allowed),
	// Unavailable.
	Mint(ctx context.Context, id keychain.LinkID, epoch keychain.Epoch, sites []keychain.SiteID) (keychain.Wrapped, error)
}

// Change is a new version of one link's record, made from the version that
// Record.Revision names, with the key that it was minted, if one was.
type Change struct {
	Record    link.Record
	Minted    keychain.Wrapped
	MintedAt  int64 // what Store.Minting said before
	Confirmed []link.Confirmation
	Sites     map[keychain.NodeID]keychain.SiteID
}

// Committed is what became of one Change: the record's new revision, or a fault
// (Stale: the record has moved on).
type Committed struct {
	Revision int64
	Err      error
}

// Store keeps records and orders.
type Store interface {
	// Records reads the records of links, the newest there are; a link without one
	// is left out. Faults: Unavailable.
	Records(ctx context.Context, ids []keychain.LinkID) ([]link.Record, error)
	// Minting is to be asked before keys are minted: a key that was minted before
	// KEKs were rotated cannot be committed after. Faults: Unavailable.
	Minting(ctx context.Context) (int64, error)
	// Commit writes each change and the orders that follow from it in one guarded
	// transaction, and answers in the order of changes. Faults: Unavailable, for
	// the whole call.
	Commit(ctx context.Context, changes []Change) ([]Committed, error)

	// PutCampaign writes a campaign's record over the revision that it was made
	// from, and gives the new one. Faults: Stale, Unavailable.
	PutCampaign(ctx context.Context, r campaign.Record, records ...audit.Record) (int64, error)
	// PutConsented writes a new campaign, and with it that the approvals on whose strength
	// it runs were used. Faults: Refused (they were used, or have ended), Stale,
	// Unavailable.
	PutConsented(ctx context.Context, r campaign.Record, c approval.Consent, records ...audit.Record) (int64, error)
	// UseApprovals writes that approvals were used. Faults: as PutConsented.
	UseApprovals(ctx context.Context, c approval.Consent, records ...audit.Record) error
	// Append writes records into the trail. Faults: Unavailable.
	Append(ctx context.Context, records ...audit.Record) error
	// PutBatches writes the batches of a campaign. It may be repeated. Faults:
	// Unavailable.
	PutBatches(ctx context.Context, name string, batches []campaign.Batch) error
	// Batches reads count batches of a campaign from number first on. Faults:
	// Unavailable.
	Batches(ctx context.Context, name string, first, count int) ([]campaign.Batch, error)
	// Deny writes down links that a campaign did not begin; Undeny takes that back.
	// Faults: Unavailable.
	Deny(ctx context.Context, name string, denials []campaign.Denial) error
	Undeny(ctx context.Context, name string, links []keychain.LinkID) error
	// DropCampaign forgets a campaign. Faults: Unavailable.
	DropCampaign(ctx context.Context, name string) error
}

// View is a copy of the store that is kept current by one watch for the whole
// worker.
type View interface {
	// CatchUp waits until the view shows everything that was written before the
	// call. Faults: Unavailable, Refused.
	CatchUp(ctx context.Context) error
	Topology() topology.Topology
	// Standing is what operators have decided for a time.
	Standing() topology.Standing
	Campaign(name string) (campaign.Record, bool)
	// Rules are the rules of approvals in force, and Asked is a request for approvals.
	Rules() approval.InForce
	Asked(id string) (approval.Asked, bool)
	// Campaigns is every campaign that is kept, the newest first.
	Campaigns() []campaign.Record
	// Denials is the links that a campaign did not begin.
	Denials(name string) []campaign.Denial
	Record(id keychain.LinkID) (link.Record, bool)
	Records() []link.Record
	// Reports has the latest report of each node about a link.
	Reports(id keychain.LinkID) []keychain.Report
	// Present is those of nodes that an agent serves now.
	Present(nodes []keychain.NodeID) []keychain.NodeID
	// Subscribe tells of changes that concern the links, or any link for nil.
	Subscribe(ids []keychain.LinkID) Subscription
}

// Subscription tells which links have news.
type Subscription interface {
	// Changed is signalled when there is something to Take.
	Changed() <-chan struct{}
	// Take gives the links that have changed since the last Take.
	Take() []keychain.LinkID
	Close()
}

// Runs knows which workflows are still running.
type Runs interface {
	// Running reports whether the workflow named owner has not ended.
	Running(ctx context.Context, owner string) (bool, error)
}

// Starter starts a Rotate workflow under an ID; a running workflow with that ID is
// left alone, and that is no error.
type Starter interface {
	Start(ctx context.Context, id string, in Batch) error
}

// Batches is the Rotate workflows of campaigns, as a campaign sees them.
type Batches interface {
	Runs
	Starter
	// Abort asks a Rotate workflow to take links back. One that has ended, or has
	// nothing left to abort, is no error. Faults: Unavailable.
	Abort(ctx context.Context, id string, q AbortRequest) error
}
