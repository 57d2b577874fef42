package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/keyorch/keyorch/notify"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// webhooks is who is told of events, and how deliveries go.
func (w *world) webhooks(ctx context.Context, t topology.Topology) (*listed, error) {
	kept, _, err := w.store.Outbox(ctx)
	if err != nil {
		return nil, err
	}
	return webhooksOf(time.Now(), t, stored(kept)), nil
}

func stored(kept []store.Document) notify.Stored {
	documents := make([]notify.Document, len(kept))
	for i, d := range kept {
		documents[i] = notify.Document(d)
	}
	return notify.Decode(documents)
}

func webhooksOf(now time.Time, t topology.Topology, s notify.Stored) *listed {
	l := &listed{header: []string{"WEBHOOK", "FORMAT", "TO", "EVENTS", "SEVERITY", "WAITING", "DELIVERED", "STATE"}, declared: true}
	for _, h := range t.Webhooks {
		r := s.Receivers[h.Name]
		l.add(h.Name, h, string(h.Format), receiver(h), cmp.Or(strings.Join(h.Events, ","), "all"), string(h.LeastSeverity()),
			fmt.Sprint(len(s.Queue[h.Name])), fmt.Sprint(r.Delivered), deliveryState(now, h, r))
	}
	return l
}

// deliveryState is how deliveries to a webhook go, in a few words.
func deliveryState(now time.Time, h topology.Webhook, r notify.Receiver) string {
	dropped := ""
	if r.Dropped > 0 {
		dropped = fmt.Sprintf("; %d given up", r.Dropped)
	}
	switch {
	case h.Disabled:
		return "disabled"
	case r.Gone != "":
		return "gone: " + r.Error
	case !r.Failing.IsZero():
		return "failing for " + age(now, r.Failing) + ": " + r.Error + dropped
	case r.Last.IsZero():
		return "nothing told yet" + dropped
	}
	return "ok, last " + age(now, r.Last) + " ago" + dropped
}

// receiver is the host that a webhook leads to: the rest of a URL may be a secret.
func receiver(h topology.Webhook) string {
	to := h.URL
	if to == "" && h.URLFile == "" {
		to = topology.PagerDutyURL
	}
	if u, err := url.Parse(to); err == nil && u.Host != "" {
		return u.Host
	}
	return "in file " + h.URLFile
}
