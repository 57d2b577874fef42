package cli

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/keyorch/keyorch/topology"
)

// webhooks is who is told of events.
func webhooks(t topology.Topology) *listed {
	l := &listed{header: []string{"WEBHOOK", "FORMAT", "TO", "EVENTS", "SEVERITY"}, declared: true}
	for _, h := range t.Webhooks {
		l.add(h.Name, h, string(h.Format), receiver(h), cmp.Or(strings.Join(h.Events, ","), "all"), string(h.LeastSeverity()))
	}
	return l
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
