package notify

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyorch/keyorch/topology"
)

// Message is one request to a receiver.
type Message struct {
	Body   []byte
	Header http.Header
}

// Encode writes an event in the format of a webhook, signed where the format has
// signatures, for an attempt made now.
func Encode(f topology.Format, s Secrets, e Event, now time.Time) (Message, error) {
	m := Message{Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"keyorch"}}}
	var err error
	switch f {
	case topology.Standard:
		m.Body, err = plainJSON(standardOf(e))
		m.sign(s, e.ID, now)
	case topology.Slack:
		m.Body, err = plainJSON(slackOf(e))
	case topology.PagerDuty:
		m.Body, err = plainJSON(pagerDutyOf(s, e))
	case topology.Alertmanager:
		return encodeAlerts(s, []Event{e}, now)
	default:
		err = fmt.Errorf("there is no format %q", f)
	}
	return m, err
}

// encodeAlerts writes several events for Alertmanager.
func encodeAlerts(s Secrets, events []Event, now time.Time) (Message, error) {
	m := Message{Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"keyorch"}}}
	if s.bearer != "" {
		m.Header.Set("Authorization", "Bearer "+s.bearer)
	}
	alerts := []alert{}
	for _, e := range events {
		alerts = append(alerts, alertOf(e, now))
	}
	var err error
	m.Body, err = plainJSON(alerts)
	return m, err
}

// plainJSON is JSON in which <, > and & are what they are: it does not stand in a page.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// standardEvent is the payload of Standard Webhooks.
type standardEvent struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      Event     `json:"data"`
}

func standardOf(e Event) standardEvent {
	at := e.At
	if e.Resolved() {
		at = e.Ended
	}
	e.Words = cut(e.Words, maxWords)
	return standardEvent{Type: e.Type(), Timestamp: at.UTC(), Data: e}
}

// maxWords keeps payloads far below the 20 kB that Standard Webhooks recommends.
const maxWords = 4000

// slackMessage is what Slack's incoming webhooks take, and those that do as Slack does.
type slackMessage struct {
	Text string `json:"text"`
}

// maxSlack keeps a text below the 4,000 characters that Slack asks for, also when every
// character has to be escaped.
const maxSlack = 700

// maxCommand is more than the longest names need.
const maxCommand = 90

func slackOf(e Event) slackMessage {
	head := "*" + strings.ToUpper(string(e.Severity)) + "*"
	switch {
	case e.Resolved():
		head = "*RESOLVED*"
	case e.Kind == Test:
		head = "*TEST*"
	}
	text := head + " " + slackText(cut(e.Words, maxSlack))
	if e.Command != "" {
		text += "\n`" + slackText(cut(e.Command, maxCommand)) + "`"
	}
	return slackMessage{Text: text}
}

// slackText escapes the three characters that mean something to Slack, so that no text
// calls for a channel or hides where a link leads.
func slackText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// pagerDutyEvent is an event of PagerDuty's Events API v2.
type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client,omitempty"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyPayload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  topology.Severity `json:"severity"`
	Timestamp time.Time         `json:"timestamp"`
	Component string            `json:"component,omitempty"`
	Group     string            `json:"group,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   any               `json:"custom_details,omitempty"`
}

// The limits of PagerDuty, in characters.
const (
	maxSummary  = 1024
	maxDedupKey = 255
)

func pagerDutyOf(s Secrets, e Event) pagerDutyEvent {
	out := pagerDutyEvent{RoutingKey: s.routingKey, Action: "trigger", DedupKey: cut("keyorch/"+e.Key, maxDedupKey)}
	if e.Resolved() {
		out.Action = "resolve"
		return out
	}
	out.Client = "keyorch"
	out.Payload = &pagerDutyPayload{
		Summary: cut(e.Words, maxSummary), Source: "keyorch", Severity: e.Severity, Timestamp: e.At.UTC(), Component: e.Subject,
		Group: cmp.Or(e.Campaign, string(e.Site)), Class: e.Kind,
		Details: map[string]string{"id": e.ID, "command": e.Command, "words": cut(e.Words, maxWords)},
	}
	return out
}

// alert is one alert of Alertmanager's API v2.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

const (
	// alertLives is how long an alert burns by itself. Open ones are sent again long
	// before that: Alertmanager need not keep them over a restart, and takes an alert
	// that nobody speaks of any more for resolved.
	alertLives = time.Hour
	// momentLives is how long one burns that has no end.
	momentLives = 5 * time.Minute
)

func alertOf(e Event, now time.Time) alert {
	a := alert{
		Labels: map[string]string{"alertname": alertName(e.Kind), "severity": string(e.Severity), "subject": e.Subject, "service": "keyorch",
			"key": e.Key},
		Annotations: map[string]string{"summary": cut(e.Words, maxWords), "command": e.Command, "id": e.ID},
		StartsAt:    e.At.UTC(), EndsAt: now.Add(alertLives).UTC(),
	}
	for label, v := range map[string]string{"link": string(e.Link), "node": string(e.Node), "site": string(e.Site), "campaign": e.Campaign, "approval": e.Approval} {
		if v != "" {
			a.Labels[label] = v
		}
	}
	switch {
	case e.Resolved():
		a.EndsAt = e.Ended.UTC()
	case e.Momentary:
		a.EndsAt = now.Add(momentLives).UTC()
	}
	if a.EndsAt.Before(a.StartsAt) { // two clocks
		a.StartsAt = a.EndsAt
	}
	return a
}

// alertName is as in KeyorchLinkHeld.
func alertName(kind string) string {
	name := "Keyorch"
	for part := range strings.FieldsFuncSeq(strings.TrimPrefix(kind, "keyorch."), func(r rune) bool { return r == '.' || r == '_' }) {
		name += strings.ToUpper(part[:1]) + part[1:]
	}
	return name
}

// cut is s, or as many characters of its beginning as leave room for an ellipsis.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
