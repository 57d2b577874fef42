package topology

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Webhook is a receiver of notifications: where events go, in which format, and
// which of them. Secrets are not in it, only the names of files in a directory that
// the worker alone is told: an operator who may declare a Webhook can then have no
// other file of the worker sent anywhere.
type Webhook struct {
	Name   string
	Labels Labels
	Format Format
	// URL is where it is sent; empty when a file has it, or Format knows it.
	URL string
	// URLFile, SecretFile and CAFile are names of files, each empty for none.
	URLFile, SecretFile, CAFile string
	// Events are the kinds that are told; none means all of them.
	Events []string
	// Severity is the least that is told.
	Severity Severity
	// GiveUp is how long an event is tried before it is dropped.
	GiveUp time.Duration
	// Disabled says that nothing is sent.
	Disabled bool
}

// Format is what a receiver is sent.
type Format string

// The formats.
const (
	Standard     Format = "standard"     // Standard Webhooks: JSON with a signature
	Slack        Format = "slack"        // chat that takes what Slack takes
	PagerDuty    Format = "pagerduty"    // PagerDuty Events API v2
	Alertmanager Format = "alertmanager" // Alertmanager API v2
)

// Formats lists all of them.
func Formats() []Format { return []Format{Standard, Slack, PagerDuty, Alertmanager} }

// Severity is how grave an event is, in PagerDuty's words.
type Severity string

// The severities.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Error    Severity = "error"
	Critical Severity = "critical"
)

// Severities lists all of them, the gravest last.
func Severities() []Severity { return []Severity{Info, Warning, Error, Critical} }

// AtLeast reports whether s is as grave as the other.
func (s Severity) AtLeast(floor Severity) bool {
	return slices.Index(Severities(), s) >= slices.Index(Severities(), floor)
}

// DefaultGiveUp is how long an event is tried where a document does not say.
const DefaultGiveUp = 24 * time.Hour

// PagerDutyURL is where PagerDuty takes events.
const PagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

// Selects reports whether events of this kind and severity are told.
func (w Webhook) Selects(kind string, s Severity) bool {
	return !w.Disabled && (len(w.Events) == 0 || slices.Contains(w.Events, kind)) && s.AtLeast(w.LeastSeverity())
}

// LeastSeverity is Severity, or what the format means by none.
func (w Webhook) LeastSeverity() Severity {
	if w.Severity == "" && w.Format == PagerDuty {
		return Warning
	}
	return cmp.Or(w.Severity, Info)
}

// CheckURL says why nothing is sent to a URL, without a word of it but its scheme and
// its host, or is nil: it is https, or http to the machine itself, and has no user in it.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("it is not a URL with a host, as in https://example.net/hooks/keyorch")
	case u.User != nil:
		return fmt.Errorf("the URL of %s has a user or a password in it: name a file with urlFile where the URL is a secret, and keep secrets in files", u.Host)
	case u.Fragment != "":
		return fmt.Errorf("the URL of %s has a fragment (#), which is never sent", u.Host)
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("the URL of %s is not encrypted: write https; http is for the worker's own machine", u.Host)
	}
	return fmt.Errorf("the URL of %s begins with %s: write https", u.Host, u.Scheme)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func buildWebhook(name string, labels Labels, spec map[string]any) (Webhook, []finding) {
	w := Webhook{Name: name, Labels: labels, Format: Format(text(spec, "format")), URL: text(spec, "url"), URLFile: text(spec, "urlFile"),
		SecretFile: text(spec, "secretFile"), CAFile: text(spec, "caFile"), Severity: Severity(text(spec, "severity")), GiveUp: DefaultGiveUp}
	w.Disabled, _ = spec["disabled"].(bool)
	if events, ok := spec["events"].([]any); ok {
		for _, e := range events {
			kind, _ := e.(string)
			w.Events = append(w.Events, kind)
		}
	}
	var r policyReader
	at := path{"spec"}
	r.time(spec, at, "giveUp", &w.GiveUp)
	r.webhook(w, at)
	return w, r.found
}

// webhook checks what the fields of w mean together.
func (r *policyReader) webhook(w Webhook, at path) {
	switch {
	case w.URL != "" && w.URLFile != "":
		r.say(at.with("urlFile"), "both url and urlFile are there", "keep one of the two")
	case w.URL == "" && w.URLFile == "" && w.Format != PagerDuty:
		r.say(at.with("url"), missing, "say where it is sent, or name a file that says so with urlFile")
	case w.URL != "":
		if err := CheckURL(w.URL); err != nil {
			r.say(at.with("url"), err.Error(), "")
		}
	}
	switch {
	case w.SecretFile == "" && w.Format == Standard:
		r.say(at.with("secretFile"), missing, "name the file with the secret that signs (whsec_…)")
	case w.SecretFile == "" && w.Format == PagerDuty:
		r.say(at.with("secretFile"), missing, "name the file with the routing key")
	case w.SecretFile != "" && w.Format == Slack:
		r.say(at.with("secretFile"), "chat has no secret but its URL", "take it out, and keep the URL in a file with urlFile")
	}
}

// webhookSpec is the spec of a Webhook on its way out.
type webhookSpec struct {
	Format     Format   `json:"format"`
	URL        string   `json:"url,omitempty"`
	URLFile    string   `json:"urlFile,omitempty"`
	SecretFile string   `json:"secretFile,omitempty"`
	CAFile     string   `json:"caFile,omitempty"`
	Events     []string `json:"events,omitempty"`
	Severity   Severity `json:"severity,omitempty"`
	GiveUp     string   `json:"giveUp,omitempty"`
	Disabled   bool     `json:"disabled,omitempty"`
}

func (w Webhook) spec() webhookSpec {
	return webhookSpec{Format: w.Format, URL: w.URL, URLFile: w.URLFile, SecretFile: w.SecretFile, CAFile: w.CAFile,
		Events: w.Events, Severity: w.Severity, GiveUp: unlessZero(w.GiveUp), Disabled: w.Disabled}
}

// wrongWebhookWord explains a word of a Webhook that is none of those allowed.
func wrongWebhookWord(def, word string, allowed []string, value any) (message, hint string) {
	what := map[string]string{"webhookFormat": "format", "webhookSeverity": "severity", "webhookEvent": "event"}[def]
	if what == "" {
		return "", ""
	}
	hint = fmt.Sprintf("the %s are %s", strings.Replace(what+"s", "ys", "ies", 1), list(allowed))
	if near := nearest(word, allowed); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Sprintf("there is no %s %s", what, show(value)), hint
}
