package topology_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/topology"
)

const everyWebhookField = `apiVersion: keyorch/v1
kind: Webhook
metadata:
  name: duty
  labels: {team: core}
spec:
  format: alertmanager
  url: https://alerts.example.net/api/v2/alerts?tenant=1
  secretFile: duty
  caFile: ca.pem
  events: [link.held, campaign.budget_spent]
  severity: error
  giveUp: 1h
  disabled: true
`

func TestAWebhookWithEveryField(t *testing.T) {
	got := parse(t, everyWebhookField+`---
apiVersion: keyorch/v1
kind: Webhook
metadata: {name: chat}
spec: {format: slack, urlFile: chat}
---
apiVersion: keyorch/v1
kind: Webhook
metadata: {name: here}
spec: {format: standard, url: "http://127.0.0.1:8080/", secretFile: here}
`, topology.Topology{})
	want := []topology.Webhook{
		{Name: "chat", Format: topology.Slack, URLFile: "chat", GiveUp: topology.DefaultGiveUp},
		{Name: "duty", Labels: topology.Labels{"team": "core"}, Format: topology.Alertmanager, URL: "https://alerts.example.net/api/v2/alerts?tenant=1",
			SecretFile: "duty", CAFile: "ca.pem", Events: []string{"link.held", "campaign.budget_spent"}, Severity: topology.Error,
			GiveUp: time.Hour, Disabled: true},
		{Name: "here", Format: topology.Standard, URL: "http://127.0.0.1:8080/", SecretFile: "here", GiveUp: topology.DefaultGiveUp},
	}
	if !reflect.DeepEqual(got.Webhooks, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got.Webhooks, want)
	}
	sameAfterWriting(t, got)
}

func TestAWebhookSelectsByEventAndSeverity(t *testing.T) {
	for _, c := range []struct {
		of   topology.Webhook
		kind string
		s    topology.Severity
		want bool
	}{
		{topology.Webhook{Format: topology.Slack}, "link.held", topology.Info, true},
		{topology.Webhook{Format: topology.PagerDuty}, "link.held", topology.Info, false},
		{topology.Webhook{Format: topology.PagerDuty, Severity: topology.Info}, "link.held", topology.Info, true},
		{topology.Webhook{Format: topology.PagerDuty}, "link.held", topology.Warning, true},
		{topology.Webhook{Severity: topology.Error}, "link.held", topology.Warning, false},
		{topology.Webhook{Severity: topology.Error}, "link.held", topology.Critical, true},
		{topology.Webhook{Events: []string{"agent.gone"}}, "link.held", topology.Critical, false},
		{topology.Webhook{Events: []string{"agent.gone"}}, "agent.gone", topology.Info, true},
		{topology.Webhook{Disabled: true}, "agent.gone", topology.Critical, false},
	} {
		if got := c.of.Selects(c.kind, c.s); got != c.want {
			t.Errorf("%+v selects %s (%s): %v", c.of, c.kind, c.s, got)
		}
	}
}

// What is said about a URL shows nothing of it that may be a secret.
func TestARefusedURLIsNotShown(t *testing.T) {
	for _, text := range []string{
		"https://me:hunter2@h.example/hunter2?hunter2=hunter2", "http://h.example/hunter2", "ftp://h.example/hunter2", "hunter2",
		"https://h.example/#hunter2", "https://[hunter2", "https://:443/hunter2", "http://me:hunter2@127.0.0.1/", "http://10.0.0.1/hunter2",
	} {
		err := topology.CheckURL(text)
		if err == nil {
			t.Errorf("%s is accepted", text)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: says %v", text, err)
		}
	}
	for _, text := range []string{"https://h.example", "http://localhost:1/x", "http://127.0.0.1:1", "http://[::1]:1/x?y=z", topology.PagerDutyURL} {
		if err := topology.CheckURL(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSeveritiesAndFormatsAreThoseOfTheSchema(t *testing.T) {
	schema := string(topology.Schema())
	for _, f := range topology.Formats() {
		if !strings.Contains(schema, `"`+string(f)+`"`) {
			t.Errorf("the schema has no format %s", f)
		}
	}
	if !slices.IsSortedFunc(topology.Severities(), func(a, b topology.Severity) int {
		if a.AtLeast(b) {
			return 1
		}
		return -1
	}) {
		t.Error("the severities do not rise")
	}
}
