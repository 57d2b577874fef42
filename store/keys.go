package store

import (
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// DefaultPrefix is where everything is kept unless Config says otherwise.
const DefaultPrefix = "/keyorch/v1"

// layout makes and reads the keys under one prefix. No other file does.
type layout struct{ root string }

// span is a range of keys: from is in it, to is not.
type span struct{ from, to string }

func prefix(p string) span { return span{p, clientv3.GetPrefixRangeEnd(p)} }

func single(key string) span { return span{key, key + "\x00"} }

// facts is one range on purpose, so that a view of records, observations,
// presence, campaigns, denials and what stands for a time has one revision. It
// leaves out the orders, which lie next to it, and what is read only when asked
// for: the past and the waves.
func (l layout) facts() span { return span{l.root + "/agents/", l.root + "/orders/"} }

func (l layout) topology() span { return prefix(l.root + "/topology/") }

func (l layout) topologyRevision() string { return l.root + "/topology-revision" }

// declaration is the key of anything declared but a node.
func (l layout) declaration(kind, name string) string {
	return l.root + "/topology/" + strings.ToLower(kind) + "/" + name
}

// node is the key of a node's declaration. It stands below its site, so that an agent
// can be shown those of its own site.
func (l layout) node(site keychain.SiteID, node keychain.NodeID) string {
	return l.nodesOf(site).from + string(node)
}

func (l layout) nodesOf(site keychain.SiteID) span {
	return prefix(l.declaration(topology.KindNode, string(site)) + "/")
}

// rootOf is the layout under a prefix; DefaultPrefix when it is empty.
func rootOf(prefix string) layout {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return layout{"/" + strings.Trim(prefix, "/")}
}

// everything is all of it.
func (l layout) everything() span { return prefix(l.root + "/") }

// folder is everything in one folder.
func (l layout) folder(name string) span { return prefix(l.root + "/" + name + "/") }

func (l layout) siteAgents(site keychain.SiteID) span {
	return prefix(l.root + "/agents/" + string(site) + "/")
}

func (l layout) siteObservations(site keychain.SiteID) span {
	return prefix(l.root + "/observations/" + string(site) + "/")
}

func (l layout) siteOrders(site keychain.SiteID) span {
	return prefix(l.root + "/orders/" + string(site) + "/")
}

func (l layout) enrolments() span { return l.folder(inEnrolments) }

// enrolment is the key of what is known of an identity, in whichever generation.
func (l layout) enrolment(i identity.Identity) string {
	i.Generation = 0
	return l.enrolments().from + i.CommonName()
}

func (l layout) links() span { return prefix(l.root + "/links/") }

// outbox is what notifications keep. It sorts after the facts that a view follows.
func (l layout) outbox() span { return prefix(l.root + "/outbox/") }

// keks is written when KEKs were rotated: see Store.Rewrap.
func (l layout) keks() string { return l.root + "/keks" }

func (l layout) link(id keychain.LinkID) string { return l.root + "/links/" + string(id) }

func (l layout) orders(site keychain.SiteID, node keychain.NodeID) span {
	return prefix(l.root + "/orders/" + string(site) + "/" + string(node) + "/")
}

func (l layout) order(site keychain.SiteID, node keychain.NodeID, id keychain.LinkID) string {
	return l.orders(site, node).from + string(id)
}

func (l layout) observations(site keychain.SiteID, node keychain.NodeID) span {
	return prefix(l.root + "/observations/" + string(site) + "/" + string(node) + "/")
}

func (l layout) observation(site keychain.SiteID, node keychain.NodeID, id keychain.LinkID) string {
	return l.observations(site, node).from + string(id)
}

func (l layout) agent(site keychain.SiteID, node keychain.NodeID) string {
	return l.root + "/agents/" + string(site) + "/" + string(node)
}

// restoring is there while a backup is being restored: see Store.Restore.
func (l layout) restoring() string { return l.root + "/" + inRestoring }

// inquiries and testimonies are those of a recovery: see Store.Inquire.
func (l layout) recovery() span { return l.folder(inRecovery) }

func (l layout) inquiries(site keychain.SiteID, node keychain.NodeID) span {
	return prefix(l.siteInquiries(site).from + string(node) + "/")
}

func (l layout) siteInquiries(site keychain.SiteID) span {
	return prefix(l.recovery().from + "inquiries/" + string(site) + "/")
}

func (l layout) siteTestimonies(site keychain.SiteID) span {
	return prefix(l.allTestimonies().from + string(site) + "/")
}

func (l layout) testimonies(site keychain.SiteID, node keychain.NodeID) span {
	return prefix(l.siteTestimonies(site).from + string(node) + "/")
}

func (l layout) allTestimonies() span { return prefix(l.recovery().from + "testimonies/") }

func (l layout) campaigns() span { return prefix(l.root + "/campaigns/") }

func (l layout) campaign(name string) string { return l.campaigns().from + name }

func (l layout) denials(campaign string) span { return prefix(l.root + "/denials/" + campaign + "/") }

func (l layout) denial(campaign string, id keychain.LinkID) string {
	return l.denials(campaign).from + string(id)
}

func (l layout) batches(campaign string) span { return prefix(l.root + "/waves/" + campaign + "/") }

// batch is the key of one batch; their order is that of their numbers.
func (l layout) batch(campaign string, number int) string {
	return l.batches(campaign).from + fmt.Sprintf("%06d", number)
}

func (l layout) allMaintenance() span { return prefix(l.root + "/maintenance/") }

func (l layout) maintenance(site keychain.SiteID) string {
	return l.allMaintenance().from + string(site)
}

func (l layout) exclusions() span { return prefix(l.root + "/exclusions/") }

func (l layout) excludedNode(node keychain.NodeID) string {
	return l.exclusions().from + ofNode + "/" + string(node)
}

func (l layout) excludedSite(site keychain.SiteID) string {
	return l.exclusions().from + ofSite + "/" + string(site)
}

func (l layout) past(id keychain.LinkID) span { return prefix(l.root + "/past/" + string(id) + "/") }

// entry is the key of what a link's history says of one Turn; their order is that
// of the Turns.
func (l layout) entry(id keychain.LinkID, turn keychain.Turn) string {
	return l.past(id).from + fmt.Sprintf("%020d", turn)
}

// The trail stands behind the orders, since a view must not follow it.
const inTrail = "trail"

func (l layout) inboxes() span { return prefix(l.root + "/" + inTrail + "/inbox/") }

func (l layout) inboxOf(writer string) span { return prefix(l.inboxes().from + writer + "/") }

// inboxEntry is where a writer puts records. The entries of one writer are in the order of
// its clock, which is for people only: what counts are etcd's revisions.
func (l layout) inboxEntry(writer string, now time.Time, unique string) string {
	return fmt.Sprintf("%s%019d-%s", l.inboxOf(writer).from, now.UnixNano(), unique)
}

func (l layout) blocks() span { return prefix(l.root + "/" + inTrail + "/chain/") }

// block is the key of the block that begins with record seq.
func (l layout) block(seq uint64) string { return fmt.Sprintf("%s%020d", l.blocks().from, seq) }

func (l layout) checkpoints() span { return prefix(l.root + "/" + inTrail + "/checkpoints/") }

// checkpoint is the key of the checkpoint number n.
func (l layout) checkpoint(n uint64) string { return fmt.Sprintf("%s%020d", l.checkpoints().from, n) }

// head is what the next record is appended to.
func (l layout) head() string { return l.root + "/" + inTrail + "/head" }

func (l layout) duty(name string) string { return l.folder(inDuties).from + name }

func (l layout) approvals() span { return l.folder(inApprovals) }

// rulesInForce and policiesInForce are what the worker has pinned.
func (l layout) rulesInForce() string { return l.approvals().from + ofRules }

func (l layout) policiesInForce() string { return l.approvals().from + ofPolicies }

// requestsOf and votesOf are what one identity has written, whose common name is part
// of the key.
func (l layout) requestsOf(cn string) span {
	return prefix(l.approvals().from + ofRequests + "/" + cn + "/")
}

func (l layout) votesOf(cn string) span { return prefix(l.approvals().from + ofVotes + "/" + cn + "/") }

func (l layout) request(cn, id string) string { return l.requestsOf(cn).from + id }

func (l layout) vote(cn, id string) string { return l.votesOf(cn).from + id }

func (l layout) ends() span { return prefix(l.approvals().from + ofEnds + "/") }

func (l layout) ended(id string) string { return l.ends().from + id }

// maxCampaign is the longest name of a campaign, in bytes. It holds that of a
// schedule or a policy, a time, and what Temporal adds to them.
const maxCampaign = 200

// validCampaign reports why name cannot name a campaign, or nil: it is made of
// the same letters as the other names, and longer.
func validCampaign(name string) error {
	if len(name) > maxCampaign {
		return fmt.Errorf("the name of the campaign has %d characters, at most %d fit", len(name), maxCampaign)
	}
	plain := func(r rune) bool { return r == '-' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
	if name == "" || strings.Trim(name, "-") != name || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return fmt.Errorf("%q does not name a campaign: use lower-case letters, digits and '-', with a letter or digit at both ends", name)
	}
	return nil
}

// validNames gives the first complaint of keychain.ValidName: a name with a '/'
// in it would be written into somebody else's folder.
func validNames[S ~string](names ...S) error {
	for _, n := range names {
		if err := keychain.ValidName(string(n)); err != nil {
			return err
		}
	}
	return nil
}
