package metrics

import (
	"slices"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// Type is the Prometheus type of a metric.
type Type string

// The types in use.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Declaration is one metric as it is registered and documented.
type Declaration struct {
	Name    string
	Type    Type
	Help    string
	Labels  []Label
	Buckets []float64 // of a Histogram
}

// Label is one label with every value that it can have.
type Label struct {
	Name   string
	Values []string
}

// other stands for every value that a label does not have.
const other = "other"

// The names. Each is declared once, below.
const (
	nameLinks       = "keyorch_links"
	nameDeclared    = "keyorch_links_declared"
	nameKeyless     = "keyorch_links_without_key"
	nameHeld        = "keyorch_links_held"
	nameHeldLonger  = "keyorch_links_held_longer"
	nameHeldSeconds = "keyorch_held_seconds"
	nameQuarantined = "keyorch_links_quarantined"
	nameKeyAge      = "keyorch_link_key_age_seconds"
	nameKeyOlder    = "keyorch_links_key_older"
	nameOverdue     = "keyorch_links_key_overdue"
	nameCampaigns   = "keyorch_campaigns"
	nameNodes       = "keyorch_nodes"
	nameDrift       = "keyorch_drift_findings"

	nameRotations   = "keyorch_rotations_total"
	nameRotating    = "keyorch_rotation_seconds"
	nameBatchLinks  = "keyorch_batch_links"
	nameCommitLinks = "keyorch_commit_links"
	nameNotices     = "keyorch_notifications_total"
	nameWaiting     = "keyorch_notifications_waiting"
	nameFailing     = "keyorch_webhooks_failing"
	nameEtcd        = "keyorch_etcd_request_seconds"
	nameVault       = "keyorch_vault_request_seconds"

	nameConfirm = "keyorch_confirm_seconds"
	nameSwitch  = "keyorch_switch_seconds"
	nameFaults  = "keyorch_device_faults_total"
	nameRepairs = "keyorch_repairs_total"
)

// WorkerDeclarations is every metric of keyorch's own that a worker has, in the
// order of the reference.
func WorkerDeclarations() []Declaration {
	return slices.Concat(fleetDeclarations(), []Declaration{
		{Name: nameRotations, Type: Counter, Labels: []Label{{"outcome", outcomes()}},
			Help: "Rotations that have ended since this worker started, of all links and by whatever worker: with several workers take the maximum, not the sum."},
		{Name: nameRotating, Type: Histogram, Labels: []Label{{"outcome", outcomes()}}, Buckets: patience(),
			Help: "Time from when a rotation of one link began to when it ended."},
		{Name: nameBatchLinks, Type: Histogram, Buckets: sizes(),
			Help: "Links in each batch that this worker began."},
		{Name: nameCommitLinks, Type: Histogram, Buckets: sizes(),
			Help: "Links whose records this worker wrote in one call to the store."},
		{Name: nameNotices, Type: Counter, Labels: []Label{{"format", formats()}, {"outcome", noticeOutcomes()}},
			Help: "Attempts to tell a webhook of an event that it took (delivered) or did not take (failed), and events that were given up (dropped), by the worker that tells them."},
		{Name: nameWaiting, Type: Gauge, Labels: []Label{{"format", formats()}},
			Help: "Events that wait to be taken by webhooks, on the worker that tells them."},
		{Name: nameFailing, Type: Gauge, Labels: []Label{{"format", formats()}},
			Help: "Webhooks that take nothing now, on the worker that tells them."},
		etcdDeclaration(), vaultDeclaration(),
	})
}

func formats() []string { return words(topology.Formats()...) }

// The outcomes of telling a webhook.
const (
	noticeDelivered = "delivered"
	noticeFailed    = "failed"
	noticeDropped   = "dropped"
)

func noticeOutcomes() []string { return []string{noticeDelivered, noticeFailed, noticeDropped} }

// AgentDeclarations is every metric of keyorch's own that an agent has which
// drives these kinds of devices.
func AgentDeclarations(kinds []string) []Declaration {
	kind := Label{"kind", append(slices.Clone(kinds), other)}
	return []Declaration{
		{Name: nameConfirm, Type: Histogram, Labels: []Label{kind, {"role", []string{roleUpstream, roleDownstream, roleBoth, other}}}, Buckets: patience(),
			Help: "Time from when an agent saw an order to when its report that the device obeys stood in etcd."},
		{Name: nameSwitch, Type: Histogram, Labels: []Label{kind}, Buckets: patience(),
			Help: "Time that devices took to send with another key, once they were told to; failures are in keyorch_device_faults_total."},
		{Name: nameFaults, Type: Counter, Labels: []Label{kind, {"fault", faults()}},
			Help: "Attempts at an order that failed."},
		{Name: nameRepairs, Type: Counter, Labels: []Label{kind},
			Help: "Devices that were found other than ordered and were put right."},
		etcdDeclaration(), vaultDeclaration(),
	}
}

// fleetDeclarations are the figures of the whole fleet.
func fleetDeclarations() []Declaration {
	var phases []string
	for _, p := range link.Phases() {
		phases = append(phases, p.String())
	}
	return []Declaration{
		{Name: nameLinks, Type: Gauge, Labels: []Label{{"phase", phases}},
			Help: "Links that have been begun at least once, by the phase of their rotation."},
		{Name: nameDeclared, Type: Gauge,
			Help: "Links that are declared."},
		{Name: nameKeyless, Type: Gauge,
			Help: "Declared links that send with no key yet."},
		{Name: nameHeld, Type: Gauge,
			Help: "Links that have stood in one phase for longer than the wait of their policy (in Draining for longer than drain and wait). They are safe, and wait for a node."},
		{Name: nameHeldLonger, Type: Gauge, Labels: []Label{{"than", names(heldSteps())}},
			Help: "Held links that entered the phase they are held in longer ago than this."},
		{Name: nameHeldSeconds, Type: Gauge, Labels: []Label{{"stat", stats()}},
			Help: "Time since held links entered the phase they are held in; 0 when none is held."},
		{Name: nameQuarantined, Type: Gauge,
			Help: "Links that went on without some downstream node, which is in quarantine."},
		{Name: nameKeyAge, Type: Gauge, Labels: []Label{{"stat", stats()}},
			Help: "Age of the keys in use, from when they were made; 0 when there is none."},
		{Name: nameKeyOlder, Type: Gauge, Labels: []Label{{"than", names(ageSteps())}},
			Help: "Links whose key in use is older than this."},
		{Name: nameOverdue, Type: Gauge, Labels: []Label{{"level", []string{levelWarn, levelMax}}},
			Help: "Links whose key is older than the policy's keyAge.warn, and than its keyAge.max. Those beyond max are in both."},
		{Name: nameCampaigns, Type: Gauge,
			Labels: []Label{{"state", campaignStates()}},
			Help:   "Campaigns on record, by state."},
		{Name: nameNodes, Type: Gauge, Labels: []Label{{"present", []string{"true", "false"}}},
			Help: "Declared nodes, by whether an agent serves them now."},
		{Name: nameDrift, Type: Gauge, Labels: []Label{{"kind", words(link.DriftKinds()...)}},
			Help: "Differences between what nodes last reported and what their links ask of them, now."},
	}
}

func etcdDeclaration() Declaration {
	return Declaration{Name: nameEtcd, Type: Histogram, Buckets: latency(),
		Labels: []Label{{"op", etcdOps()}, {"outcome", requestOutcomes()}}, Help: "Time that requests to etcd took."}
}

func vaultDeclaration() Declaration {
	return Declaration{Name: nameVault, Type: Histogram, Buckets: latency(),
		Labels: []Label{{"op", vaultOps()}, {"outcome", requestOutcomes()}}, Help: "Time that requests to Vault took."}
}

// The values of labels that more than one place uses.
const (
	roleUpstream   = "upstream"
	roleDownstream = "downstream"
	roleBoth       = "both"
	levelWarn      = "warn"
	levelMax       = "max"
	statP50        = "p50"
	statP99        = "p99"
	statMax        = "max"
	answered       = "ok"
	cancelled      = "cancelled"
)

func stats() []string { return []string{statP50, statP99, statMax} }

func campaignStates() []string {
	return words(campaign.Running, campaign.Paused, campaign.Aborting, campaign.Ended)
}

func outcomes() []string { return words(link.Rotated, link.Aborted, link.Denied, link.Held, other) }

// faults are the kinds of package fault.
func faults() []string {
	var all []string
	for _, k := range []fault.Kind{fault.Invalid, fault.Refused, fault.Stale, fault.Mismatch, fault.Unknown, fault.Unavailable} {
		all = append(all, k.String())
	}
	return append(all, other)
}

func requestOutcomes() []string { return append([]string{answered, cancelled}, faults()...) }

// etcdOps are the words that package store has for its requests, vaultOps those
// of package custody.
func etcdOps() []string { return []string{"get", "txn", "lease", other} }

func vaultOps() []string { return []string{"mint", "unwrap", other} }

// words are values of some string type as labels.
func words[S ~string](values ...S) []string {
	var all []string
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

// latency is for requests to a server, in seconds.
func latency() []float64 {
	return []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15}
}

// patience is for what waits for devices and for people, in seconds.
func patience() []float64 {
	return []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200}
}

// sizes is for numbers of links.
func sizes() []float64 { return []float64{1, 5, 10, 25, 50, 100, 200, 300, 500} }
