package notify

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The checks below are what the receivers' own documentation asks for, written without
// the code that is checked.

// signingSecret is a secret as a receiver has it.
const signingSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwx7Q="

// strictly decodes JSON and refuses fields that are not known.
func strictly(body []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one JSON value")
	}
	return nil
}

// checkStandard verifies a message as Standard Webhooks asks a receiver to, and gives
// its id.
func checkStandard(secret string, h http.Header, body []byte, now time.Time) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return "", err
	}
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	switch {
	case id == "" || strings.Contains(id, "."):
		return "", fmt.Errorf("webhook-id %q", id)
	case err != nil || math.Abs(now.Sub(time.Unix(seconds, 0)).Minutes()) > 5:
		return "", fmt.Errorf("webhook-timestamp %q", stamp)
	case h.Get("content-type") != "application/json":
		return "", fmt.Errorf("content-type %q", h.Get("content-type"))
	case len(body) > 20_000:
		return "", fmt.Errorf("a body of %d bytes", len(body))
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	want := mac.Sum(nil)
	good := false
	for part := range strings.SplitSeq(h.Get("webhook-signature"), " ") {
		version, text, _ := strings.Cut(part, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		good = good || version == "v1" && err == nil && hmac.Equal(got, want)
	}
	if !good {
		return "", fmt.Errorf("no signature fits: %q", h.Get("webhook-signature"))
	}
	var payload struct {
		Type      string         `json:"type"`
		Timestamp time.Time      `json:"timestamp"`
		Data      map[string]any `json:"data"`
	}
	if err := strictly(body, &payload); err != nil {
		return "", err
	}
	if !regexp.MustCompile(`^[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)+$`).MatchString(payload.Type) || payload.Timestamp.IsZero() || len(payload.Data) == 0 {
		return "", fmt.Errorf("payload %s", body)
	}
	return id, nil
}

// checkSlack checks a message for an incoming webhook of Slack.
func checkSlack(body []byte) (string, error) {
	var m struct {
		Text string `json:"text"`
	}
	if err := strictly(body, &m); err != nil {
		return "", err
	}
	if m.Text == "" || utf8.RuneCountInString(m.Text) > 4000 {
		return "", fmt.Errorf("a text of %d characters", utf8.RuneCountInString(m.Text))
	}
	rest := regexp.MustCompile(`&(amp|lt|gt);`).ReplaceAllString(m.Text, "")
	if strings.ContainsAny(rest, "&<>") {
		return "", fmt.Errorf("not escaped: %s", m.Text)
	}
	return m.Text, nil
}

// checkPagerDuty checks an event for the Events API v2 and gives what is done with which
// key, as in "trigger keyorch/link.held/ab".
func checkPagerDuty(key string, body []byte) (string, error) {
	var e struct {
		RoutingKey  string `json:"routing_key"`
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		Client      string `json:"client"`
		ClientURL   string `json:"client_url"`
		Payload     *struct {
			Summary       string         `json:"summary"`
			Source        string         `json:"source"`
			Severity      string         `json:"severity"`
			Timestamp     time.Time      `json:"timestamp"`
			Component     string         `json:"component"`
			Group         string         `json:"group"`
			Class         string         `json:"class"`
			CustomDetails map[string]any `json:"custom_details"`
		} `json:"payload"`
	}
	if err := strictly(body, &e); err != nil {
		return "", err
	}
	switch {
	case e.RoutingKey != key:
		return "", errors.New("the routing key is another")
	case e.DedupKey == "" || utf8.RuneCountInString(e.DedupKey) > 255:
		return "", fmt.Errorf("dedup_key %q", e.DedupKey)
	case len(body) > 512<<10:
		return "", fmt.Errorf("%d bytes", len(body))
	case e.EventAction == "resolve" && e.Payload == nil:
		return "resolve " + e.DedupKey, nil
	case e.EventAction != "trigger" || e.Payload == nil:
		return "", fmt.Errorf("event_action %q", e.EventAction)
	}
	p := e.Payload
	if n := utf8.RuneCountInString(p.Summary); n == 0 || n > 1024 || p.Source == "" || !slices.Contains([]string{"critical", "error", "warning", "info"}, p.Severity) {
		return "", fmt.Errorf("payload %+v", p)
	}
	return "trigger " + e.DedupKey, nil
}

// checkAlerts checks what is posted to Alertmanager's /api/v2/alerts, and gives by label
// "key" whether each burns.
func checkAlerts(body []byte, now time.Time) (map[string]bool, error) {
	var alerts []struct {
		Labels       map[string]string `json:"labels"`
		Annotations  map[string]string `json:"annotations"`
		StartsAt     time.Time         `json:"startsAt"`
		EndsAt       time.Time         `json:"endsAt"`
		GeneratorURL string            `json:"generatorURL"`
	}
	if err := strictly(body, &alerts); err != nil {
		return nil, err
	}
	burns := map[string]bool{}
	for _, a := range alerts {
		if a.Labels["alertname"] == "" || a.StartsAt.IsZero() || a.EndsAt.Before(a.StartsAt) {
			return nil, fmt.Errorf("alert %+v", a)
		}
		for _, set := range []map[string]string{a.Labels, a.Annotations} {
			for name, v := range set {
				if !regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`).MatchString(name) || !utf8.ValidString(v) {
					return nil, fmt.Errorf("label %q: %q", name, v)
				}
			}
		}
		burns[a.Labels["key"]] = a.EndsAt.After(now)
	}
	return burns, nil
}
