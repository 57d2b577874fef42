package metrics

import (
	"log/slog"
	"net/http"
	"time"
)

// Agent is the metrics of one agent. It is safe for concurrent use.
type Agent struct {
	set      *set
	confirm  histogram
	switches histogram
	faults   counter
	repairs  counter
	etcd     histogram
	vault    histogram
}

// NewAgent is the metrics of an agent that drives these kinds of devices.
func NewAgent(kinds []string) *Agent {
	s := newSet(AgentDeclarations(kinds))
	a := &Agent{
		set:     s,
		confirm: s.histogram(nameConfirm), switches: s.histogram(nameSwitch),
		faults: s.counter(nameFaults), repairs: s.counter(nameRepairs),
		etcd: s.histogram(nameEtcd), vault: s.histogram(nameVault),
	}
	for _, k := range kinds {
		a.repairs.vec.WithLabelValues(k) // so that it is there before the first
	}
	return a
}

// Handler answers scrapes. Trouble with single figures goes to log.
func (a *Agent) Handler(log *slog.Logger) http.Handler { return a.set.handler(log) }

// Confirmed is told of an order that its device shows to be obeyed: the kind of
// the device, its role (upstream, downstream or both), and the time from when the
// order was seen to when the report of it was kept.
func (a *Agent) Confirmed(kind, role string, took time.Duration) {
	a.confirm.took(took, kind, role)
}

// Switched is told of a device that began to send with another key: its kind, and
// how long it took to do that.
func (a *Agent) Switched(kind string, took time.Duration) { a.switches.took(took, kind) }

// DeviceFault is told of every attempt at an order that failed: the kind of the
// device, and of the fault.
func (a *Agent) DeviceFault(kind, fault string) { a.faults.inc(kind, fault) }

// Repaired is told of a device that was found other than ordered and put right.
func (a *Agent) Repaired(kind string) { a.repairs.inc(kind) }

// EtcdRequest is told of every exchange with etcd, as store.Config.Observe is.
func (a *Agent) EtcdRequest(op string, took time.Duration, err error) {
	a.etcd.took(took, op, outcomeOf(err))
}

// VaultRequest is told of every request to Vault, as custody.Config.Observe is.
func (a *Agent) VaultRequest(op string, took time.Duration, err error) {
	a.vault.took(took, op, outcomeOf(err))
}
