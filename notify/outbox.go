package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyorch/keyorch/topology"
)

// Document is one thing that the outbox keeps, under its key.
type Document struct {
	Key   string
	Value []byte
}

// Change is what is done to the outbox at once, or not at all.
type Change struct {
	// Head takes the place of the head that Guard names; nil leaves it alone and asks for
	// no guard.
	Head   []byte
	Guard  int64
	Put    []Document
	Delete []string
	// Dropped are notices that were given up, for the audit trail.
	Dropped []Dropped
}

// Dropped is a notice that was never taken, and why.
type Dropped struct {
	Notice Notice
	Reason string
}

// Outbox keeps what was told and what waits to be sent. Faults: Stale when somebody else
// has changed the head, Unavailable and Unknown when it may have been done or not.
type Outbox interface {
	Read(ctx context.Context) (documents []Document, guard int64, err error)
	Write(ctx context.Context, c Change) (guard int64, err error)
}

// Receiver is how deliveries to a webhook go.
type Receiver struct {
	Delivered uint64 `json:"delivered,omitempty"`
	Dropped   uint64 `json:"dropped,omitempty"`
	// Last is when something was taken last.
	Last time.Time `json:"last,omitzero"`
	// Failing is since when nothing is taken, and Error why; zero when all is well.
	Failing time.Time `json:"failing,omitzero"`
	Error   string    `json:"error,omitempty"`
	// Gone is what it looked like, when it said that it wants nothing more.
	Gone string `json:"gone,omitempty"`
}

// Stored is what an outbox has.
type Stored struct {
	Memory    Memory
	Numbers   map[string]uint64 // the last one given, by webhook
	Queue     map[string][]Notice
	Receivers map[string]Receiver
	// Broken are keys of documents that cannot be read.
	Broken []string
}

// The folders of an outbox.
const (
	headKey     = "head"
	inTold      = "told/"
	inQueue     = "queue/"
	inReceivers = "receivers/"
)

// head is what guards an outbox.
type head struct {
	Since   map[string]time.Time `json:"since,omitempty"`
	Numbers map[string]uint64    `json:"numbers,omitempty"`
}

// queued is a notice as it is kept.
type queued struct {
	Event  Event     `json:"event"`
	Queued time.Time `json:"queued"`
}

// Decode reads what an outbox has. What cannot be read is named and left out.
func Decode(documents []Document) Stored {
	s := Stored{Memory: Memory{Told: map[string]Told{}, Since: map[string]time.Time{}}, Numbers: map[string]uint64{},
		Queue: map[string][]Notice{}, Receivers: map[string]Receiver{}}
	for _, d := range documents {
		if !s.take(d) {
			s.Broken = append(s.Broken, d.Key)
		}
	}
	for name, notices := range s.Queue {
		slices.SortFunc(notices, func(a, b Notice) int { return cmp.Compare(a.Number, b.Number) })
		s.Numbers[name] = max(s.Numbers[name], notices[len(notices)-1].Number)
	}
	return s
}

func (s *Stored) take(d Document) bool {
	if d.Key == headKey {
		var h head
		if json.Unmarshal(d.Value, &h) != nil {
			return false
		}
		for name, at := range h.Since {
			s.Memory.Since[name] = at
		}
		for name, n := range h.Numbers {
			s.Numbers[name] = max(s.Numbers[name], n)
		}
		return true
	}
	if key, ok := strings.CutPrefix(d.Key, inTold); ok {
		var t Told
		if json.Unmarshal(d.Value, &t) != nil || t.Event.Key != key {
			return false
		}
		s.Memory.Told[key] = t
		return true
	}
	if name, ok := strings.CutPrefix(d.Key, inReceivers); ok {
		var r Receiver
		if json.Unmarshal(d.Value, &r) != nil {
			return false
		}
		s.Receivers[name] = r
		return true
	}
	name, number, ok := strings.Cut(strings.TrimPrefix(d.Key, inQueue), "/")
	n, err := strconv.ParseUint(number, 10, 64)
	var q queued
	if !strings.HasPrefix(d.Key, inQueue) || !ok || err != nil || queueKey(name, n) != d.Key || json.Unmarshal(d.Value, &q) != nil {
		return false
	}
	s.Queue[name] = append(s.Queue[name], Notice{Webhook: name, Number: n, Event: q.Event, Queued: q.Queued})
	return true
}

// queueKey sorts by number.
func queueKey(webhook string, n uint64) string { return fmt.Sprintf("%s%s/%020d", inQueue, webhook, n) }

func encodeHead(since map[string]time.Time, numbers map[string]uint64) (Document, error) {
	v, err := json.Marshal(head{Since: since, Numbers: numbers})
	return Document{Key: headKey, Value: v}, err
}

func toldDocument(t Told) (Document, error) {
	v, err := json.Marshal(t)
	return Document{Key: inTold + t.Event.Key, Value: v}, err
}

func noticeDocument(n Notice) (Document, error) {
	v, err := json.Marshal(queued{Event: n.Event, Queued: n.Queued})
	return Document{Key: queueKey(n.Webhook, n.Number), Value: v}, err
}

func receiverDocument(name string, r Receiver) (Document, error) {
	v, err := json.Marshal(r)
	return Document{Key: inReceivers + name, Value: v}, err
}

// likeness is what a webhook looks like to its receiver: one that has said that it is
// gone is asked again when that has changed.
func likeness(h topology.Webhook) string {
	return strings.Join([]string{string(h.Format), h.URL, h.URLFile, h.SecretFile, h.CAFile}, " ")
}
