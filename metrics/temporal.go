package metrics

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
)

// temporal keeps what Temporal's SDK counts: task queues, pollers, slots, and the
// requests to the server. The SDK makes up names and labels as it goes, so they
// are taken in under three rules:
//
//  1. A label is one of those below, and its value is of the form that the SDK's
//     own words have. The name of a link or a node is not, nor is a key.
//  2. A name has one type, the first that it was used with.
//  3. There are at most maxSeries. What comes later is not counted.
//
// Names get the endings of Prometheus: _total for counters and _seconds for
// timers, as the SDK's own documentation has them.
type temporal struct {
	queue string

	mu     sync.RWMutex
	types  map[string]Type
	series map[seriesKey]prometheus.Metric
}

// maxSeries is a few times what a worker of keyorch has.
const maxSeries = 1000

// The labels, by their place in temporalTags.
const (
	tagQueue = iota
	tagWorkerType
	tagWorkflowType
	tagActivityType
	tagPollerType
	tagOperation
	tagReason
	tagStatus
	tagCause
	tagCount
)

// temporalTags are the values of the labels; empty: the label is not there.
type temporalTags [tagCount]string

func temporalLabels() [tagCount]string {
	return [tagCount]string{"task_queue", "worker_type", "workflow_type", "activity_type", "poller_type",
		"operation", "failure_reason", "status_code", "cause"}
}

// temporalWord is the form of the names of Go functions, gRPC methods and codes:
// it begins with a capital, which no name of keyorch's does, and is shorter than
// a key in any notation.
var temporalWord = regexp.MustCompile(`^[A-Z][A-Za-z_]{0,39}$`)

var temporalName = regexp.MustCompile(`^temporal_[a-z][a-z_]{0,79}$`)

// pollerTypes are the SDK's only values in lower case.
func pollerTypes() []string {
	return []string{"workflow_task", "workflow_sticky_task", "activity_task", "nexus_task"}
}

// seriesKey is a series by its name as it is shown.
type seriesKey struct {
	name string
	tags temporalTags
}

func newTemporal(queue string) *temporal {
	return &temporal{queue: queue, types: make(map[string]Type), series: make(map[seriesKey]prometheus.Metric)}
}

// admit is value as the label i may have it. The SDK says "none" for no value.
func (t *temporal) admit(i int, value string) string {
	switch {
	case value == "" || value == "none":
		return ""
	case i == tagQueue && value == t.queue, i == tagPollerType && slices.Contains(pollerTypes(), value),
		i != tagQueue && i != tagPollerType && temporalWord.MatchString(value):
		return value
	}
	return other
}

// find is the series of that name and those tags, made if it is not there yet;
// nil when it is not to be counted.
func (t *temporal) find(name string, as Type, tags temporalTags) prometheus.Metric {
	key := seriesKey{name + endings(as), tags}
	if strings.HasSuffix(name, endings(as)) {
		key.name = name
	}
	t.mu.RLock()
	m, used := t.series[key], t.types[key.name]
	t.mu.RUnlock()
	switch {
	case used != "" && used != as:
		return nil
	case m == nil:
		return t.begin(key, as)
	}
	return m
}

// begin makes a series, if there may be one more.
func (t *temporal) begin(key seriesKey, as Type) prometheus.Metric {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.types[key.name]
	switch m := t.series[key]; {
	case used != "" && used != as, len(t.series) >= maxSeries && m == nil, !temporalName.MatchString(key.name):
		return nil
	case m != nil:
		return m
	}
	m := newSeries(key, as)
	t.types[key.name], t.series[key] = as, m
	return m
}

// endings are what Prometheus wants at the end of names.
func endings(as Type) string {
	switch as {
	case Counter:
		return "_total"
	case Histogram:
		return "_seconds"
	case Gauge:
	}
	return ""
}

func newSeries(key seriesKey, as Type) prometheus.Metric {
	labels := make(prometheus.Labels)
	for i, l := range temporalLabels() {
		if key.tags[i] != "" {
			labels[l] = key.tags[i]
		}
	}
	const help = "Counted by Temporal's SDK: see docs.temporal.io/references/sdk-metrics."
	switch as {
	case Counter:
		return prometheus.NewCounter(prometheus.CounterOpts{Name: key.name, Help: help, ConstLabels: labels})
	case Histogram:
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: key.name, Help: help, ConstLabels: labels, Buckets: latency()})
	case Gauge:
	}
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: key.name, Help: help, ConstLabels: labels})
}

// Describe implements prometheus.Collector. It describes nothing, since nothing
// is known beforehand.
func (t *temporal) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (t *temporal) Collect(to chan<- prometheus.Metric) {
	t.mu.RLock()
	all := slices.Collect(maps.Values(t.series))
	t.mu.RUnlock()
	for _, m := range all {
		to <- m
	}
}

// temporalHandler is the SDK's way in.
type temporalHandler struct {
	to   *temporal
	tags temporalTags
}

// WithTags implements client.MetricsHandler.
func (h temporalHandler) WithTags(tags map[string]string) client.MetricsHandler {
	for i, l := range temporalLabels() {
		if v, ok := tags[l]; ok {
			h.tags[i] = h.to.admit(i, v)
		}
	}
	return h
}

// Counter implements client.MetricsHandler.
func (h temporalHandler) Counter(name string) client.MetricsCounter {
	c, _ := h.to.find(name, Counter, h.tags).(prometheus.Counter)
	return sink(func(v float64) {
		if c != nil && v > 0 {
			c.Add(v)
		}
	})
}

// Gauge implements client.MetricsHandler.
func (h temporalHandler) Gauge(name string) client.MetricsGauge {
	g, _ := h.to.find(name, Gauge, h.tags).(prometheus.Gauge)
	return sink(func(v float64) {
		if g != nil && !math.IsNaN(v) {
			g.Set(v)
		}
	})
}

// Timer implements client.MetricsHandler.
func (h temporalHandler) Timer(name string) client.MetricsTimer {
	t, _ := h.to.find(name, Histogram, h.tags).(prometheus.Histogram)
	return sink(func(v float64) {
		if t != nil {
			t.Observe(max(v, 0))
		}
	})
}

// sink takes one value, in seconds if it is a time.
type sink func(float64)

// Inc implements client.MetricsCounter.
func (s sink) Inc(n int64) { s(float64(n)) }

// Update implements client.MetricsGauge.
func (s sink) Update(v float64) { s(v) }

// Record implements client.MetricsTimer.
func (s sink) Record(d time.Duration) { s(d.Seconds()) }
