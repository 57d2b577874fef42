package notify

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/topology"
)

// delivering is a courier at work with so many notices, which tries again at once.
func delivering(t *testing.T, h topology.Webhook, n int, queued time.Time, log *slog.Logger) (*courier, *box) {
	t.Helper()
	b := newBox()
	if log == nil {
		log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	var queue []Notice
	for i := range n {
		notice := Notice{Webhook: h.Name, Number: uint64(i + 1), Event: event(i), Queued: queued}
		doc, err := noticeDocument(notice)
		if err != nil {
			t.Fatal(err)
		}
		b.docs[doc.Key] = doc.Value
		queue = append(queue, notice)
	}
	p := parts{outbox: b, secrets: directory(t), log: log, now: time.Now, first: time.Millisecond}
	c := newCourier(p, h, queue, Receiver{}, func() []Event { return nil })
	ctx, stop := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() { c.run(ctx) })
	t.Cleanup(func() { stop(); over.Wait() })
	return c, b
}

func event(i int) Event {
	return Event{Kind: LinkHeld, Key: fmt.Sprintf("%s/l%d", LinkHeld, i), Subject: "link", Severity: topology.Error, Words: "it waits", At: noon(),
		ID: fmt.Sprintf("evt_%d", i)}
}

func wanted(n int) (out []string) {
	for i := range n {
		out = append(out, event(i).ID)
	}
	return out
}

func TestNoticesAreTakenInTheirOrderOnce(t *testing.T) {
	for name, answer := range map[string]func(int, http.ResponseWriter, *http.Request) bool{
		"at once": takes, "after 500": answers(500, 3), "after 429": answers(429, 2), "after 404": answers(404, 2), "after 302": answers(302, 2),
		"after a connection that breaks": func(i int, w http.ResponseWriter, _ *http.Request) bool {
			if i < 2 {
				panic(http.ErrAbortHandler)
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, answer)
			c, b := delivering(t, r.hook("h"), 5, time.Now(), nil)
			eventually(t, "all was taken", func() bool { return len(b.keys(inQueue)) == 0 })
			if got := r.taken(); !slices.Equal(got, wanted(5)) {
				t.Errorf("took %q", got)
			}
			if n, how := c.status(); n != 0 || how.Delivered != 5 || how.Dropped != 0 || !how.Failing.IsZero() || how.Error != "" || how.Last.IsZero() {
				t.Errorf("%d wait, %+v", n, how)
			}
			if got := Decode(documents(b)).Receivers["h"]; got.Delivered != 5 || got.Error != "" {
				t.Errorf("kept is %+v", got)
			}
		})
	}
}

func documents(b *box) []Document {
	out, _, _ := b.Read(context.Background())
	return out
}

func TestWhatAReceiverRefusesStopsNothingElse(t *testing.T) {
	r := newReceiver(t, func(i int, w http.ResponseWriter, _ *http.Request) bool {
		if i == 1 {
			w.WriteHeader(http.StatusBadRequest)
		}
		return i != 1
	})
	c, b := delivering(t, r.hook("h"), 3, time.Now(), nil)
	eventually(t, "nothing waits", func() bool { return len(b.keys(inQueue)) == 0 })
	if got := r.taken(); !slices.Equal(got, []string{"evt_0", "evt_2"}) {
		t.Errorf("took %q", got)
	}
	if d := b.given(); len(d) != 1 || d[0].Notice.Event.ID != "evt_1" || !strings.Contains(d[0].Reason, "answers 400 Bad Request: it does not take this event") {
		t.Errorf("gave up %+v", d)
	}
	if _, how := c.status(); how.Dropped != 1 || how.Delivered != 2 {
		t.Errorf("%+v", how)
	}
}

func TestAReceiverThatIsGoneIsLeftAlone(t *testing.T) {
	r := newReceiver(t, answers(http.StatusGone, 1))
	c, b := delivering(t, r.hook("h"), 3, time.Now(), nil)
	eventually(t, "nothing waits", func() bool { return len(b.keys(inQueue)) == 0 && len(b.given()) == 3 })
	if _, how := c.status(); how.Gone == "" || r.asked() != 1 {
		t.Errorf("%+v after %d requests", how, r.asked())
	}
	kept := Decode(documents(b)).Receivers
	if got := active(topology.Topology{Webhooks: []topology.Webhook{r.hook("h")}}, kept); len(got) != 0 {
		t.Error("it is told more")
	}
	elsewhere := r.hook("h")
	elsewhere.URL += "/new"
	if got := active(topology.Topology{Webhooks: []topology.Webhook{elsewhere}}, kept); len(got) != 1 {
		t.Error("declared otherwise, it is told nothing")
	}
}

func TestAnEventIsGivenUpInTime(t *testing.T) {
	r := newReceiver(t, answers(503, 1_000_000))
	h := r.hook("h")
	h.GiveUp = time.Minute
	var log journal
	_, b := delivering(t, h, 2, time.Now().Add(-time.Minute+300*time.Millisecond), log.logger())
	eventually(t, "it is given up", func() bool { return len(b.given()) == 2 && len(b.keys(inQueue)) == 0 })
	if why := b.given()[0].Reason; !strings.Contains(why, "it was not taken within 1m0s: 127.0.0.1:") || !strings.Contains(why, "answers 503 Service Unavailable") {
		t.Error(why)
	}
	if r.asked() == 0 || !strings.Contains(log.String(), "gave up an event") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("%d requests; the log says\n%s", r.asked(), log.String())
	}
}

// What went out is not sent again when the outbox was away for a while.
func TestWhatWasTakenIsWrittenDownLater(t *testing.T) {
	r := newReceiver(t, takes)
	b := newBox()
	b.away = true
	p := parts{outbox: b, secrets: directory(t), log: slog.New(slog.NewTextHandler(io.Discard, nil)), now: time.Now, first: time.Millisecond}
	c := newCourier(p, r.hook("h"), []Notice{{Webhook: "h", Number: 1, Event: event(0), Queued: time.Now()}}, Receiver{}, nil)
	ctx, stop := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() { c.run(ctx) })
	defer func() { stop(); over.Wait() }()
	eventually(t, "it was taken", func() bool { return len(r.taken()) == 1 })
	b.mu.Lock()
	b.away = false
	b.mu.Unlock()
	eventually(t, "it is written down", func() bool { return len(b.keys(inReceivers)) == 1 })
	if got := r.taken(); len(got) != 1 {
		t.Errorf("took %q", got)
	}
}

func TestErrorsNameTheHostAndNothingElseOfAURL(t *testing.T) {
	d := directory(t)
	redirects := newReceiver(t, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "https://evil.example/hunter2", http.StatusTemporaryRedirect)
		return false
	})
	echoes := newReceiver(t, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "you asked for "+r.URL.String()+"\x1b[31m")
		return false
	})
	dead := newReceiver(t, takes)
	dead.Close()
	secure := newReceiver(t, takes)
	https := secure.hook("h")
	https.URL = strings.Replace(https.URL, "http://", "https://", 1)
	for want, h := range map[string]topology.Webhook{
		"answers 307 Temporary Redirect: it leads elsewhere, and redirects are not followed: declare the address where the receiver is": redirects.hook("h"),
		"answers 500 Internal Server Error":           echoes.hook("h"),
		": nobody listens there":                      dead.hook("h"),
		": the connection broke":                      https,
		"no-such-host.invalid: the name is not known": {Name: "h", Format: topology.Slack, URL: "https://no-such-host.invalid/hunter2"},
	} {
		a := Send(t.Context(), d, h, event(0), time.Now())
		if a.Err == nil || !strings.Contains(a.Err.Error(), want) {
			t.Errorf("says %v, want %s", a.Err, want)
			continue
		}
		if said := fmt.Sprintf("%+v", a); strings.Contains(said, "hunter2") || strings.Contains(said, "\x1b") || strings.Contains(said, "evil") {
			t.Errorf("says %s", said)
		}
	}
}

func TestRetryAfterIsHeard(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "999999": time.Hour, "-1": 0, "soon": 0,
		at(2).Format(http.TimeFormat): 2 * time.Minute, at(-2).Format(http.TimeFormat): 0} {
		if got := pause(text, noon()); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}
