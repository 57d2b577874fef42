package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/campaign"
)

// notifiedSites has a link a with the canary's label to n3, and two others. Links that are
// not confirmed within three seconds are held.
const notifiedSites = `
apiVersion: keyorch/v1
kind: Policy
metadata: {name: waves}
spec:
  drain: 200ms
  wait: 3s
  waves: [{name: canary, selector: tier=canary, soak: 1h}, {name: rest}]
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc1}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc3}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: n1}
spec: {site: dc1, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: n2}
spec: {site: dc1, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: n3}
spec: {site: dc3, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: a, labels: {tier: canary}}
spec: {upstream: [n1], downstream: [n3], policy: waves}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: b}
spec: {upstream: [n1], downstream: [n2], policy: waves}
`

// webhooks are four receivers: one that takes everything, one where nobody listens, one
// that never answers, and one of another format.
const webhooks = `
apiVersion: keyorch/v1
kind: Webhook
metadata: {name: good}
spec: {format: standard, url: "$GOOD", secretFile: good, caFile: good-ca.pem}
---
apiVersion: keyorch/v1
kind: Webhook
metadata: {name: dead}
spec: {format: standard, url: "$DEAD", secretFile: good}
---
apiVersion: keyorch/v1
kind: Webhook
metadata: {name: never}
spec: {format: slack, urlFile: never-url}
---
apiVersion: keyorch/v1
kind: Webhook
metadata: {name: duty}
spec: {format: alertmanager, url: "$DUTY", events: [link.held], severity: error}
`

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwx7Q="

// listener is a receiver of Standard Webhooks.
type listener struct {
	t      *testing.T
	mu     sync.Mutex
	shut   bool
	ids    []string
	events []string // as in "link.held link a"
	words  []string // of each
	turned int      // away
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(webhookSecret, "whsec_"))
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || r.Header.Get("webhook-signature") != want {
		l.t.Errorf("not signed: %v %s", r.Header, body)
	}
	var e struct {
		Type string
		Data struct{ Subject, Words, Command string }
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Data.Words == "" || e.Data.Command == "" {
		l.t.Errorf("a payload that is none: %v %s", err, body)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		l.turned++
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	l.ids = append(l.ids, r.Header.Get("webhook-id"))
	l.events, l.words = append(l.events, e.Type+" "+e.Data.Subject), append(l.words, e.Data.Words)
}

// said is in which words it was told of an event first.
func (l *listener) said(kind, subject string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.events, kind+" "+subject); i >= 0 {
		return l.words[i]
	}
	return ""
}

// about is what it took about a subject, in its order.
func (l *listener) about(subject string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if kind, ok := strings.CutSuffix(e, " "+subject); ok {
			out = append(out, kind)
		}
	}
	return out
}

func (l *listener) close(shut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = shut
}

func (l *listener) turnedAway() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.turned
}

// notifiedWorld has the receivers, and every link on its first key.
func notifiedWorld(t *testing.T, good *listener, alerts http.Handler) *world {
	w := newWorld(t)
	secrets := t.TempDir()
	put := func(name, text string) { must(t, os.WriteFile(filepath.Join(secrets, name), []byte(text), 0o600)) }
	secure := httptest.NewTLSServer(good)
	t.Cleanup(secure.Close)
	put("good", webhookSecret+"\n")
	put("good-ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	t.Setenv("GOOD", secure.URL+"/hooks?token=hunter2")
	over := make(chan struct{})
	never := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or nobody sees that the other side has gone
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	t.Cleanup(func() { close(over); never.CloseClientConnections(); never.Close() })
	put("never-url", never.URL+"/hunter2\n")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Setenv("DEAD", "http://"+nobody.Addr().String()+"/hunter2")
	must(t, nobody.Close())
	duty := httptest.NewServer(alerts)
	t.Cleanup(duty.Close)
	t.Setenv("DUTY", duty.URL+"/api/v2/alerts")
	w.Env = append(w.Env, "KEYORCH_WEBHOOK_SECRETS="+secrets)
	w.declare(notifiedSites)
	w.staff()
	w.rotate(0, "b")
	first, ended := w.campaigning("a")
	w.until("the canary is done", func() bool { return w.soaks(first) || w.campaign(first).State == campaign.Ended })
	ended(0)
	w.declare(webhooks)
	w.traffic()
	return w
}

func TestWebhooksAreTold(t *testing.T) {
	good := &listener{t: t}
	var mu sync.Mutex
	var alerts []string
	w := notifiedWorld(t, good, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		alerts = append(alerts, string(body))
	}))
	late := w.approvalsAreTold(t, good)
	tried := w.keyorch(3, "notify", "test")
	t.Logf("\n%s%s", tried.Out, tried.Err)
	for _, want := range []string{"good  ", "200 after", "nobody listens there", "no answer within 10s", "2 of 4 webhooks did not take it: dead, never"} {
		if !strings.Contains(tried.Out+tried.Err, want) {
			t.Errorf("notify test does not say %q", want)
		}
	}
	w.keyorch(2, "notify", "test", "nobody")

	w.dead(true, "n3")
	name, ended := w.campaigning("--all")
	w.is(name, campaign.Paused) // its budget is spent
	ended(4)
	subject := "campaign " + name
	w.until("it is told", func() bool { return len(good.about("link a")) == 1 && len(good.about(subject)) == 1 })
	w.dead(false, "n3")
	w.settled("a", 2)
	w.until("it is told that all is well", func() bool { return len(good.about("link a")) == 2 })
	w.keyorch(0, "resume", name)
	w.until("it goes on", func() bool { return w.soaks(name) })
	w.until("that is told, too", func() bool { return len(good.about(subject)) == 2 })

	late()

	// What cannot be taken waits over the death of the worker.
	good.close(true)
	w.keyorch(0, "pause", name, "--reason", "fibre work")
	w.until("the receiver has turned it away", func() bool { return good.turnedAway() > 0 })
	w.worker.Kill()
	w.deleteABlock()
	good.close(false)
	w.startWorker()
	w.until("it is told after all", func() bool { return len(good.about(subject)) == 3 })
	w.until("it is told that the trail is broken", func() bool { return len(good.about("the audit trail")) > 0 })
	w.keyorch(0, "resume", name)
	w.keyorch(0, "promote", name)
	w.is(name, campaign.Ended)
	w.until("the end is told", func() bool { return len(good.about(subject)) == 5 })

	got := w.keyorch(0, "get", "webhooks").Out
	t.Logf("\n%s", got)
	if strings.Contains(got, "hunter2") || !strings.Contains(got, "nobody listens there") {
		t.Errorf("get webhooks says\n%s", got)
	}
	if got := good.said("audit.broken", "the audit trail"); !strings.Contains(got, "the audit trail is broken: ") || !strings.Contains(got, "missing") {
		t.Errorf("of the trail it was told %q", got)
	}
	if got, want := good.about("link a"), []string{"link.held", "link.held.resolved"}; !slices.Equal(got, want) {
		t.Errorf("of link a it took %q, want %q", got, want)
	}
	if got, want := good.about(subject), []string{"campaign.budget_spent", "campaign.budget_spent.resolved", "campaign.paused", "campaign.paused.resolved",
		"campaign.finished"}; !slices.Equal(got, want) {
		t.Errorf("of the campaign it took %q, want %q", got, want)
	}
	if ids := slices.Sorted(slices.Values(good.ids)); len(slices.Compact(ids)) != len(good.ids) {
		t.Errorf("something was taken twice: %q", good.events)
	}
	mu.Lock()
	if all := strings.Join(alerts, "\n"); !strings.Contains(all, `"alertname":"KeyorchLinkHeld"`) || strings.Contains(all, "Campaign") {
		t.Errorf("Alertmanager was sent\n%s", all)
	}
	mu.Unlock()
	log, err := os.ReadFile(w.worker.Log)
	must(t, err)
	if strings.Contains(string(log), "hunter2") || strings.Contains(string(log), "whsec_") {
		t.Error("the log has a secret")
	}
	w.noLoss()
}
