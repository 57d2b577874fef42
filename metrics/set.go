package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// set is one registry with the metrics that were declared for it.
type set struct {
	registry *prometheus.Registry
	declared []Declaration
}

// newSet has the collectors of the Go runtime and of the process already.
func newSet(declared []Declaration) *set {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &set{registry: r, declared: declared}
}

// find panics over a name that is not declared: that is a mistake in this
// package, and it shows as soon as anything starts.
func (s *set) find(name string, as Type) Declaration {
	i := slices.IndexFunc(s.declared, func(d Declaration) bool { return d.Name == name && d.Type == as })
	if i < 0 {
		panic(fmt.Sprintf("metrics: no %s %s is declared", as, name))
	}
	return s.declared[i]
}

func (s *set) counter(name string) counter {
	d := s.find(name, Counter)
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.labelNames())
	s.registry.MustRegister(vec)
	return counter{labels: d.Labels, vec: vec}
}

func (s *set) gauge(name string) gauge {
	d := s.find(name, Gauge)
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: d.Name, Help: d.Help}, d.labelNames())
	s.registry.MustRegister(vec)
	return gauge{labels: d.Labels, vec: vec}
}

func (s *set) histogram(name string) histogram {
	d := s.find(name, Histogram)
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: d.Buckets}, d.labelNames())
	s.registry.MustRegister(vec)
	return histogram{labels: d.Labels, vec: vec}
}

// handler answers scrapes. What cannot be gathered is left out and logged: one
// broken figure does not hide the others.
func (s *set) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		ErrorLog: complaints{log}, ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: atOnce, Timeout: answerTime, Registry: s.registry,
	})
}

// atOnce is how many scrapes are answered side by side, and answerTime how long
// one may take.
const (
	atOnce     = 4
	answerTime = 10 * time.Second
)

// complaints is what promhttp logs to.
type complaints struct{ log *slog.Logger }

func (c complaints) Println(v ...any) { c.log.Warn("cannot gather metrics", "error", fmt.Sprint(v...)) }

// counter and histogram are vectors whose labels have closed sets of values.
type counter struct {
	labels []Label
	vec    *prometheus.CounterVec
}

func (c counter) inc(values ...string) { c.vec.WithLabelValues(known(c.labels, values)...).Inc() }

type gauge struct {
	labels []Label
	vec    *prometheus.GaugeVec
}

func (g gauge) set(v float64, values ...string) {
	g.vec.WithLabelValues(known(g.labels, values)...).Set(v)
}

type histogram struct {
	labels []Label
	vec    *prometheus.HistogramVec
}

func (h histogram) took(d time.Duration, values ...string) { h.observe(d.Seconds(), values...) }

func (h histogram) observe(v float64, values ...string) {
	h.vec.WithLabelValues(known(h.labels, values)...).Observe(max(v, 0))
}

// known is values with "other" in the place of what a label does not have.
func known(labels []Label, values []string) []string {
	out := slices.Clone(values)
	for i, v := range out {
		if !slices.Contains(labels[i].Values, v) {
			out[i] = other
		}
	}
	return out
}

func (d Declaration) labelNames() []string {
	var all []string
	for _, l := range d.Labels {
		all = append(all, l.Name)
	}
	return all
}

func (d Declaration) desc() *prometheus.Desc {
	return prometheus.NewDesc(d.Name, d.Help, d.labelNames(), nil)
}
