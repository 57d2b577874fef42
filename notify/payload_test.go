package notify

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

const routingKey = "0123456789abcdef0123456789ABCDEF"

// directory has the files that every webhook of a test may name.
func directory(t *testing.T) Directory {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"signing": signingSecret + "\n", "two": "whsec_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" + "\n" + signingSecret + "\n",
		"routing": routingKey + "\n", "bearer": "token-of-mine\n", "empty": "", "words": "two words\n", "large": strings.Repeat("a", maxSecret+1),
		"short": "whsec_AAAA\n", "plain": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwx7Q=\n", "url": "https://hooks.example.net/services/hunter2\n",
		"httpurl": "http://hooks.example.net/services/hunter2\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Directory(dir)
}

// strange are events with everything that may be strange in them.
func strange() map[string]Event {
	e := Event{Kind: LinkHeld, Key: LinkHeld + "/ab", Subject: "link ab", Severity: topology.Error, Link: "ab", Campaign: "c1",
		Words: "link ab waits for b", Command: "keyorch why ab", At: noon()}
	with := func(change func(*Event)) Event {
		out := e
		change(&out)
		return out.named(noon())
	}
	return map[string]Event{
		"plain":     with(func(*Event) {}),
		"resolved":  with(func(e *Event) { e.Ended = at(5) }),
		"momentary": with(func(e *Event) { e.Kind, e.Momentary = CampaignFinished, true }),
		"test":      with(func(e *Event) { e.Kind = Test }),
		"long":      with(func(e *Event) { e.Words = strings.Repeat("wörter & <more> ", 2000) }),
		"long key":  with(func(e *Event) { e.Key = strings.Repeat("k", 1000) }),
		"markup":    with(func(e *Event) { e.Words = "<!channel> <https://evil.example|good.example> &amp; `x` & \x01\xff" }),
		"no words":  with(func(e *Event) { e.Words, e.Command = "it", "" }),
	}
}

func TestReceiversTakeEveryEvent(t *testing.T) {
	d := directory(t)
	now := noon().Add(6 * time.Minute)
	for name, e := range strange() {
		for _, h := range []topology.Webhook{
			{Format: topology.Standard, URL: "https://h.example", SecretFile: "signing"},
			{Format: topology.Standard, URL: "https://h.example", SecretFile: "two"},
			{Format: topology.Slack, URLFile: "url"},
			{Format: topology.PagerDuty, SecretFile: "routing"},
			{Format: topology.Alertmanager, URL: "https://h.example", SecretFile: "bearer"},
			{Format: topology.Alertmanager, URL: "https://h.example"},
		} {
			s, err := d.Of(h)
			if err != nil {
				t.Fatal(err)
			}
			m, err := Encode(h.Format, s, e, now)
			if err != nil {
				t.Fatal(err)
			}
			switch h.Format {
			case topology.Standard:
				id, failed := checkStandard(signingSecret, m.Header, m.Body, now)
				if err = failed; err == nil && id != e.ID {
					err = fmt.Errorf("the id is %s, want %s", id, e.ID)
				}
			case topology.Slack:
				_, err = checkSlack(m.Body)
			case topology.PagerDuty:
				did, failed := checkPagerDuty(routingKey, m.Body)
				if err = failed; err == nil && strings.HasPrefix(did, "resolve ") != e.Resolved() {
					err = fmt.Errorf("it is a %s", did)
				}
			case topology.Alertmanager:
				burns, failed := checkAlerts(m.Body, now)
				if err = failed; err == nil && (len(burns) != 1 || burns[e.Key] == e.Resolved()) {
					err = fmt.Errorf("burns: %v", burns)
				}
				if want := map[bool]string{true: "Bearer token-of-mine"}[h.SecretFile != ""]; m.Header.Get("Authorization") != want {
					t.Errorf("authorization %q", m.Header.Get("Authorization"))
				}
			}
			if err != nil {
				t.Errorf("%s, %s: %v:\n%s", h.Format, name, err, m.Body)
			}
		}
	}
}

// The checks of the receivers find what is wrong.
func TestReceiversRefuseWhatIsWrong(t *testing.T) {
	d, now := directory(t), noon()
	s, err := d.Of(topology.Webhook{Format: topology.Standard, URL: "https://h.example", SecretFile: "signing"})
	if err != nil {
		t.Fatal(err)
	}
	good, err := Encode(topology.Standard, s, strange()["plain"], now)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(m *Message) time.Time{
		"another body":   func(m *Message) time.Time { m.Body[10] ^= 1; return now },
		"another id":     func(m *Message) time.Time { m.Header.Set("webhook-id", "evt_1"); return now },
		"another time":   func(m *Message) time.Time { m.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()+1)); return now },
		"an old one":     func(*Message) time.Time { return now.Add(6 * time.Minute) },
		"no signature":   func(m *Message) time.Time { m.Header.Del("webhook-signature"); return now },
		"another secret": func(m *Message) time.Time { m.Header.Set("webhook-signature", "v1,AAAA"); return now },
	} {
		m := Message{Body: append([]byte{}, good.Body...), Header: maps.Clone(good.Header)}
		if _, err := checkStandard(signingSecret, m.Header, m.Body, spoil(&m)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for _, body := range []string{`{"text":""}`, `{"text":"<!channel>"}`, `{"text":"a & b"}`, `{"texts":"a"}`, `{"text":"` + strings.Repeat("a", 4001) + `"}`} {
		if _, err := checkSlack([]byte(body)); err == nil {
			t.Errorf("slack takes %.50s", body)
		}
	}
	for _, body := range []string{`[]`, `{"routing_key":"x","event_action":"trigger","dedup_key":"k"}`,
		`{"routing_key":"` + routingKey + `","event_action":"trigger","dedup_key":"k","payload":{"summary":"s","source":"s","severity":"fatal","timestamp":"2026-11-02T12:00:00Z"}}`,
		`{"routing_key":"` + routingKey + `","event_action":"resolve"}`} {
		if _, err := checkPagerDuty(routingKey, []byte(body)); err == nil {
			t.Errorf("pagerduty takes %s", body)
		}
	}
	for _, body := range []string{`{}`, `[{"labels":{"alertname":"a","bad-name":"b"},"startsAt":"2026-11-02T12:00:00Z","endsAt":"2026-11-02T12:00:00Z"}]`, `[{"labels":{}}]`} {
		if _, err := checkAlerts([]byte(body), now); err == nil {
			t.Errorf("alertmanager takes %s", body)
		}
	}
}

// An alert is found again by its labels: those of the resolution are the same.
func TestAResolvedAlertHasTheSameLabels(t *testing.T) {
	e := strange()["plain"]
	over := e
	over.Ended = at(5)
	if a, b := alertOf(e, at(1)), alertOf(over.named(noon()), at(6)); !maps.Equal(a.Labels, b.Labels) {
		t.Errorf("%v and %v", a.Labels, b.Labels)
	}
}

func TestSecretsThatCannotBeUsed(t *testing.T) {
	d := directory(t)
	for want, h := range map[string]topology.Webhook{
		"read file gone: it is not in " + string(d):                     {Format: topology.Standard, URL: "https://h.example", SecretFile: "gone"},
		"line 1 is no secret of Standard Webhooks: whsec_ and 24 to 64": {Format: topology.Standard, URL: "https://h.example", SecretFile: "short"},
		"read file plain: line 1 is no secret":                          {Format: topology.Standard, URL: "https://h.example", SecretFile: "plain"},
		"read file empty: line 1 is no secret":                          {Format: topology.Standard, URL: "https://h.example", SecretFile: "empty"},
		"read file bearer: a routing key is 32 letters and digits":      {Format: topology.PagerDuty, SecretFile: "bearer"},
		"read file words: it has to have one line":                      {Format: topology.Alertmanager, URL: "https://h.example", SecretFile: "words"},
		"read file large: it is larger than":                            {Format: topology.Alertmanager, URL: "https://h.example", SecretFile: "large"},
		"the URL of hooks.example.net is not encrypted":                 {Name: "chat", Format: topology.Slack, URLFile: "httpurl"},
		"read the URL of webhook odd: it is not a URL with a host":      {Name: "odd", Format: topology.Slack, URLFile: "bearer"},
		`read file "../signing": it is no name of a file`:               {Format: topology.Slack, URLFile: "../signing"},
		`read file ".": it is no name of a file`:                        {Format: topology.Slack, URLFile: "."},
		"read file signing: it has no certificate in PEM":               {Format: topology.Slack, URLFile: "url", CAFile: "signing"},
	} {
		_, err := d.Of(h)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: says %v, want %s", h, err, want)
			continue
		}
		for _, secret := range []string{"hunter2", "AAAA", "MfKQ", "token-of-mine", "two words"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("says %v", err)
			}
		}
	}
	_, err := Directory("").Of(topology.Webhook{Format: topology.Slack, URLFile: "url"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "--webhook-secrets") {
		t.Errorf("without a directory: %v", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	s, err := directory(t).Of(topology.Webhook{Format: topology.Alertmanager, URL: "https://h.example/hunter2", SecretFile: "bearer"})
	if err != nil {
		t.Fatal(err)
	}
	asJSON, _ := json.Marshal([]any{s})
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s", s, s, s, s), string(asJSON)} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "token") {
			t.Errorf("prints %s", text)
		}
	}
}
