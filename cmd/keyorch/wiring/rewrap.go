package wiring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// resealing is the store and Vault as the workflow Rewrap sees them.
type resealing struct {
	store *store.Store
	vault *custody.Custody
}

// Rewrap implements workflows.Rewrapper.
func (r resealing) Rewrap(ctx context.Context, keks []string) ([]int, error) {
	return r.store.Rewrap(ctx, keks, r.anew)
}

// anew gives keys wrapped under the latest version of kek.
func (r resealing) anew(ctx context.Context, kek string, keys []store.Key) ([]keychain.Wrapped, error) {
	sealed := make([]custody.Sealed, len(keys))
	for i, k := range keys {
		sealed[i] = custody.Sealed(k)
	}
	out, err := r.vault.Rewrap(ctx, kek, sealed)
	for i, w := range out {
		if custody.Version(w) == custody.Version(keys[i].Wrapped) {
			out[i] = keys[i].Wrapped // it was the latest
		}
	}
	return out, err
}

// StoredUnder counts stored keys by the version of the KEK under which they are
// wrapped.
func StoredUnder(keys []store.Key) map[string]map[int]int {
	counts := map[string]map[int]int{}
	for _, k := range keys {
		if counts[k.Wrapped.KEK] == nil {
			counts[k.Wrapped.KEK] = map[int]int{}
		}
		counts[k.Wrapped.KEK][custody.Version(k.Wrapped)]++
	}
	return counts
}

// KEKs are those that the links of a topology need, and those under which keys are
// stored still. With a site, only those that it may use.
func KEKs(t topology.Topology, inUse InUse, site keychain.SiteID) []string {
	keks := declaredKEKs(t)
	if site != "" {
		keks = KEKsOf(t, inUse, identity.OfSite(site))
	} else {
		for _, nodes := range inUse {
			for _, names := range nodes {
				keks = append(keks, names...)
			}
		}
	}
	slices.Sort(keks)
	return slices.Compact(keks)
}

// Rewrap has the worker wrap the keys under KEKs anew and waits for it. Faults: those
// of workflows.Rewrapper, and Unavailable when Temporal does not answer.
func (c Campaigns) Rewrap(ctx context.Context, keks []string) (workflows.Rewrapped, error) {
	id := fmt.Sprintf("kek-rewrap-%d", time.Now().UnixNano())
	var done workflows.Rewrapped
	run, err := c.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue},
		workflows.Rewrap, workflows.RewrapRequest{KEKs: keks})
	if err == nil {
		err = run.Get(ctx, &done)
	}
	said := new(temporal.ApplicationError)
	switch {
	case err == nil:
		return done, nil
	case errors.As(err, &said):
		return done, fault.New(fault.ParseKind(said.Type()), "%s", said.Message())
	case ctx.Err() != nil:
		return done, fault.Wrap(fault.Unknown, ctx.Err(), "wait for %s: no worker has finished it; one that comes will", id)
	}
	return done, fault.New(fault.Unavailable, "start workflow %s: temporal does not answer", id)
}
