// Package metrics is what Prometheus can ask a worker and an agent: every metric
// with its name, its labels and its help, declared in one place, and the
// registries, the hooks and the small server that bring them to a scrape.
//
// Names follow prometheus.io/docs/practices/naming. Every label has a closed set
// of values, and anything else is counted as "other": the number of series does
// not grow with the fleet, and the name of a link, a node or a site, or a key,
// has no way in. There is therefore deliberately no series per link; `keyorch
// status` and `keyorch why` tell of single links.
//
// There is no global registry. A figure of the whole fleet is computed when it is
// asked for, at most once a second; counters and histograms are fed by hooks.
package metrics
