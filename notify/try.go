package notify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// Tried is what came back for an event that was sent to try a webhook.
type Tried struct {
	Webhook string          `json:"webhook"`
	Format  topology.Format `json:"format"`
	Host    string          `json:"host,omitempty"`
	ID      string          `json:"id"`
	Status  int             `json:"status,omitempty"`
	Took    time.Duration   `json:"took"` // in nanoseconds
	// Said is the beginning of the answer, without secrets.
	Said string `json:"said,omitempty"`
	// Error is why the event was not taken; empty when it was.
	Error string `json:"error,omitempty"`
}

// Try sends an event of kind Test to webhooks, all that are declared if none is named,
// each once and side by side, past the outbox. It does not matter whether they are
// disabled, or what they select. Faults: Invalid for one that is not declared.
func Try(ctx context.Context, d Directory, t topology.Topology, names []string, by string, now time.Time) ([]Tried, error) {
	var hooks []topology.Webhook
	for _, n := range names {
		i := slices.IndexFunc(t.Webhooks, func(h topology.Webhook) bool { return h.Name == n })
		if i < 0 {
			var known []string
			for _, h := range t.Webhooks {
				known = append(known, h.Name)
			}
			return nil, fault.New(fault.Invalid, "test webhook %q: it is not declared; declared are: %s", n, orNone(known))
		}
		hooks = append(hooks, t.Webhooks[i])
	}
	if len(names) == 0 {
		hooks = t.Webhooks
	}
	if len(hooks) == 0 {
		return nil, fault.New(fault.Invalid, "test webhooks: none is declared")
	}
	out := make([]Tried, len(hooks))
	var wg sync.WaitGroup
	for i, h := range hooks {
		wg.Go(func() {
			e := Event{Kind: Test, Key: fmt.Sprintf("%s/%s/%d", Test, h.Name, now.UnixNano()), Subject: "webhook " + h.Name, Severity: topology.Info,
				Words: fmt.Sprintf("a test of webhook %s, asked for by %s: nothing is wrong", h.Name, by), Command: "keyorch get webhooks",
				At: now, Momentary: true}.named(now)
			a := Send(ctx, d, h, e, now)
			out[i] = Tried{Webhook: h.Name, Format: h.Format, Host: a.Host, ID: e.ID, Status: a.Status, Took: a.Took, Said: a.Said}
			if a.Err != nil {
				out[i].Error = a.Err.Error()
			}
		})
	}
	wg.Wait()
	return out, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
