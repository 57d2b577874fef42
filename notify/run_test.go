package notify

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/topology"
)

func TestADeadReceiverDelaysNoOther(t *testing.T) {
	good, never := newReceiver(t, takes), newReceiver(t, hangs)
	dead := newReceiver(t, takes)
	dead.Close()
	w, b := newWorld(never.hook("a-never"), dead.hook("b-dead"), good.hook("good")), newBox()
	var log journal
	started(t, w, b, directory(t), log.logger())
	w.hold(ids(5)...)
	began := time.Now()
	eventually(t, "the good one has everything", func() bool { return len(good.taken()) == 5 })
	if took := time.Since(began); took > answerTime/2 {
		t.Errorf("it took %v", took)
	}
	w.rest(ids(5)...)
	eventually(t, "it hears that all is well", func() bool { return len(good.taken()) == 10 })
	if n := len(b.keys(inQueue + "a-never/")); n != 10 {
		t.Errorf("%d wait for the one that never answers", n)
	}
}

// Whoever comes next sends what was left, in its order, and nothing twice.
func TestNothingIsLostOrDoubledByARestart(t *testing.T) {
	var mu sync.Mutex
	open := false
	r := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !open {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return open
	})
	w, b, d := newWorld(r.hook("h")), newBox(), directory(t)
	var log journal
	stop := started(t, w, b, d, log.logger())
	w.hold("l1")
	eventually(t, "it waits", func() bool { return len(b.keys(inQueue)) == 1 && r.asked() > 0 })
	stop()
	stop = started(t, w, b, d, log.logger())
	w.rest("l1")
	w.change(func() { // ended after the webhook was declared
		w.campaigns = []campaign.Record{{Name: "c1", State: campaign.Ended, Ended: time.Now().Add(time.Second), Reason: "1 link: 1 rotated"}}
	})
	eventually(t, "three wait", func() bool { return len(b.keys(inQueue)) == 3 })
	stop()
	mu.Lock()
	open = true
	mu.Unlock()
	stop = started(t, w, b, d, log.logger())
	eventually(t, "all was taken", func() bool { return len(b.keys(inQueue)) == 0 })
	stop()
	started(t, w, b, d, log.logger())
	w.hold("l2")
	eventually(t, "the next is taken", func() bool { return len(r.taken()) == 4 })
	got := r.taken()
	if slices.Sort(got); len(slices.Compact(got)) != 4 {
		t.Errorf("took %q", r.taken())
	}
	for _, n := range b.given() {
		t.Errorf("gave up %+v", n)
	}
}

// Of two that believe they lead, one writes: nothing is told under two ids.
func TestTwoThatLeadTellNothingTwice(t *testing.T) {
	r := newReceiver(t, takes)
	w, b, d := newWorld(r.hook("h")), newBox(), directory(t)
	var log journal
	other := newWorld(r.hook("h"))
	started(t, w, b, d, log.logger())
	started(t, other, b, d, log.logger())
	for range 5 {
		w.hold("l1")
		other.hold("l1")
		eventually(t, "it is told", func() bool { return len(b.keys(inTold)) == 1 })
		w.rest("l1")
		other.rest("l1")
		eventually(t, "it is over", func() bool { return len(b.keys(inTold)) == 0 && len(b.keys(inQueue)) == 0 })
	}
	got := slices.Clone(r.taken())
	slices.Sort(got)
	if distinct := len(slices.Compact(got)); distinct != 10 {
		t.Errorf("took %d different events, want 10: %q", distinct, r.taken())
	}
}

func TestNobodyIsToldWithoutWebhooks(t *testing.T) {
	w, b := newWorld(), newBox()
	var log journal
	started(t, w, b, directory(t), log.logger())
	w.hold("l1")
	r := newReceiver(t, takes)
	w.change(func() { w.topology.Webhooks = []topology.Webhook{r.hook("h")} })
	eventually(t, "it is told", func() bool { return len(r.taken()) == 1 })
	w.change(func() { w.topology.Webhooks = nil })
	eventually(t, "nothing is kept", func() bool { return len(b.keys("")) == 1 }) // the head
	if b.guard > 3 {
		t.Errorf("the head was written %d times", b.guard)
	}
}

func TestAQueueIsBounded(t *testing.T) {
	never := newReceiver(t, answers(500, 1_000_000))
	w, b := newWorld(never.hook("h")), newBox()
	// Momentary events are not crowded.
	w.campaigns = nil
	for i := range maxWaiting + 50 {
		w.campaigns = append(w.campaigns, campaign.Record{Name: fmt.Sprintf("c%04d", i), State: campaign.Paused, Reason: "paused by an operator", Since: noon()})
	}
	var log journal
	started(t, w, b, directory(t), log.logger())
	eventually(t, "it is full", func() bool { return len(b.keys(inQueue)) >= maxWaiting })
	time.Sleep(2 * settleBefore)
	if n := len(b.keys(inQueue)); n != maxWaiting {
		t.Errorf("%d wait", n)
	}
}

func TestTry(t *testing.T) {
	good := newReceiver(t, takes)
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "invalid_token")
	}))
	defer bad.Close()
	top := topology.Topology{Webhooks: []topology.Webhook{
		{Name: "chat", Format: topology.Slack, URL: bad.URL, Disabled: true}, good.hook("good"), {Name: "odd", Format: topology.Standard, URL: good.URL, SecretFile: "gone"},
	}}
	got, err := Try(t.Context(), directory(t), top, nil, "operator-ana", time.Now())
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	if c := got[0]; c.Status != 403 || c.Said != "invalid_token" || !strings.HasSuffix(c.Error, "answers 403 Forbidden: look at the URL and at the secret") {
		t.Errorf("%+v", c)
	}
	if c := got[1]; c.Status != 200 || c.Error != "" || c.ID != good.taken()[0] {
		t.Errorf("%+v", c)
	}
	if c := got[2]; c.Status != 0 || !strings.Contains(c.Error, "read file gone: it is not in ") {
		t.Errorf("%+v", c)
	}
	if got, err := Try(t.Context(), directory(t), top, []string{"good"}, "x", time.Now()); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	for _, names := range [][]string{{"nobody"}, nil} {
		if names == nil {
			top.Webhooks = nil
		}
		if _, err := Try(t.Context(), directory(t), top, names, "x", time.Now()); err == nil {
			t.Error("it tries nobody")
		}
	}
}
