package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const referenceFile = "../docs/metrics.md"

// TestReference keeps docs/metrics.md what the declarations say.
func TestReference(t *testing.T) {
	want := reference()
	if *update {
		if err := os.WriteFile(referenceFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is declared: run make generate", referenceFile)
	}
}

func reference() []byte {
	var b bytes.Buffer
	b.WriteString(referenceHead)
	b.WriteString("\n## Worker\n\n")
	table(&b, WorkerDeclarations())
	b.WriteString(referenceTemporal)
	b.WriteString("\n## Agent\n\n")
	table(&b, AgentDeclarations([]string{kindsInWords}))
	b.WriteString(referenceAlerts)
	return b.Bytes()
}

// kindsInWords stands for the kinds of devices that a build drives.
const kindsInWords = "*a kind of device*"

func table(b *bytes.Buffer, all []Declaration) {
	b.WriteString("| name | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, d := range all {
		var labels []string
		for _, l := range d.Labels {
			var values []string
			for _, v := range l.Values {
				if v != kindsInWords {
					v = "`" + v + "`"
				}
				values = append(values, v)
			}
			labels = append(labels, fmt.Sprintf("`%s`: %s", l.Name, strings.Join(values, ", ")))
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, strings.Join(labels, "; "), d.Help)
	}
}

const referenceHead = `# Metrics

<!-- Generated from package metrics by make generate. Do not edit. -->

` + "`keyorch worker --metrics-listen ADDR` and `keyorch agent --metrics-listen ADDR`" + ` answer Prometheus at /metrics,
and /healthz with "ok" for as long as the process runs. Without the flag no port is
opened. There is no authentication: give an address that only Prometheus reaches, as
127.0.0.1:9090, or guard the port by a network policy.

The flag --health-listen ADDR answers a supervisor, apart from that: /livez with 200 unless a
restart would help, and /readyz with 200 when a worker has read all that etcd has, and
when an agent serves its nodes or waits for who does; else 503 and the reason. Vault and
devices count for neither: an agent that is restarted while Vault is away cannot open the
keys that it has open now.

Every label has a closed set of values; anything else is counted as ` + "`other`" + `. The number
of series does not grow with the fleet, and no series names a link, a node, a site or
a key. For single links ask ` + "`keyorch status` and `keyorch why`" + `.

Times are in seconds. A histogram has the series NAME_bucket, NAME_sum and NAME_count.
Both processes also have the usual go_ and process_ metrics, and promhttp_ for the
scrapes themselves.
`

const referenceTemporal = `
The figures of the whole fleet are the same on every worker: take the maximum over the
workers, not the sum. They are computed when they are asked for, at most once a second,
and are missing until the worker has read etcd.

What Temporal's SDK counts is there too, under the names of its own documentation
(docs.temporal.io/references/sdk-metrics): ` + "`temporal_`" + ` names, counters with _total, timers
as histograms with _seconds. Look first at temporal_num_pollers,
temporal_worker_task_slots_available, temporal_activity_schedule_to_start_latency_seconds
and temporal_long_request_failure_total.
`

const referenceAlerts = `
## Alerts to begin with

| alert | expression |
| --- | --- |
| a link has been held for a day | ` + "`max(keyorch_links_held_longer{than=\"1d\"}) > 0`" + ` |
| a key is older than its policy allows | ` + "`max(keyorch_links_key_overdue{level=\"max\"}) > 0`" + ` |
| a campaign waits for a person | ` + "`max(keyorch_campaigns{state=\"paused\"}) > 0`" + ` |
| nodes that nobody serves | ` + "`max(keyorch_nodes{present=\"false\"}) > 0`" + ` for 10 minutes |
| devices refuse orders | ` + "`sum by (kind, fault) (rate(keyorch_device_faults_total[15m])) > 0`" + ` |
| webhooks take nothing | ` + "`max(keyorch_webhooks_failing) > 0`" + ` for 10 minutes |
| no worker looks for work | ` + "`absent(temporal_num_pollers{poller_type=\"workflow_task\"})`" + ` |
`

// full is a worker and an agent that have been told of everything once.
func full(t *testing.T) []*set {
	t.Helper()
	v := newWorld()
	v.declare("dc1-dc2", "")
	v.change("dc1-dc2", steady(1, time.Now(), time.Now()))
	w, a := NewWorker("keyorch"), NewAgent([]string{"exec", "sim"})
	w.fleet.Store(newFleet(v, v, w.ended, time.Now))
	for _, d := range slices.Concat(WorkerDeclarations(), AgentDeclarations([]string{"exec", "sim"})) {
		if d.Name == "" {
			t.Fatal("a metric without a name")
		}
	}
	w.ended(link.Attempt{Outcome: link.Rotated})
	w.Began(1)
	w.Committed(1)
	w.Notified(topology.Slack, nil)
	w.NotifyDropped(topology.Slack)
	w.NotifyStanding(nil, nil)
	w.EtcdRequest("get", time.Second, nil)
	w.VaultRequest("mint", time.Second, nil)
	w.Temporal().Counter("temporal_request").Inc(1)
	w.Temporal().Timer("temporal_request_latency").Record(time.Second)
	w.Temporal().Gauge("temporal_num_pollers").Update(1)
	a.Confirmed("sim", "upstream", time.Second)
	a.Switched("sim", time.Second)
	a.DeviceFault("sim", "unavailable")
	a.Repaired("sim")
	a.EtcdRequest("get", time.Second, nil)
	a.VaultRequest("unwrap", time.Second, nil)
	return []*set{w.set, a.set}
}

func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	for _, s := range full(t) {
		families, err := s.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.NewWithMetricFamilies(families).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		var shown []string
		for _, f := range families {
			shown = append(shown, f.GetName())
		}
		for _, d := range s.declared {
			if !slices.Contains(shown, d.Name) {
				t.Errorf("%s is declared and never shown", d.Name)
			}
			if !strings.HasPrefix(d.Name, "keyorch_") {
				t.Errorf("%s does not begin with keyorch_", d.Name)
			}
		}
		for _, name := range shown {
			declared := slices.ContainsFunc(s.declared, func(d Declaration) bool { return d.Name == name })
			if strings.HasPrefix(name, "keyorch_") && !declared {
				t.Errorf("%s is shown and not declared", name)
			}
		}
	}
}

// TestLabelsCannotHoldNamesOrKeys feeds every label of every declaration with
// names and keys, and looks at the samples of a fleet that is full of them.
func TestLabelsCannotHoldNamesOrKeys(t *testing.T) {
	hot := []string{"dc1-dc2", "dc1-dc2-a", "a1b2c3d4e5", strings.Repeat("deadbeef", 8), "vault:v1:AAAA"}
	for _, d := range slices.Concat(WorkerDeclarations(), AgentDeclarations([]string{"exec", "sim"})) {
		for i, l := range d.Labels {
			if len(l.Values) == 0 || len(l.Values) > 16 {
				t.Errorf("%s: %s has %d values", d.Name, l.Name, len(l.Values))
			}
			for _, h := range hot {
				values := make([]string, len(d.Labels))
				values[i] = h
				if got := known(d.Labels, values)[i]; got != other {
					t.Errorf("%s: %s may be %q", d.Name, l.Name, got)
				}
			}
		}
	}
	for _, s := range full(t) {
		for sample := range scraped(t, s.handler(complaining(t))) {
			for _, h := range hot {
				if strings.Contains(sample, h) {
					t.Errorf("%s holds %q", sample, h)
				}
			}
		}
	}
}

func TestSeriesDoNotGrowWithTheFleet(t *testing.T) {
	if few, many := fleetSamples(t, 3), fleetSamples(t, 3000); few != many {
		t.Errorf("3 links give %d samples, 3000 give %d", few, many)
	}
}

var ofKeyorch = regexp.MustCompile(`^keyorch_`)

func fleetSamples(t *testing.T, links int) int {
	t.Helper()
	w := NewWorker("keyorch")
	v := fleetOf(links)
	w.fleet.Store(newFleet(v, v, w.ended, time.Now))
	n := 0
	for name := range scraped(t, w.Handler(complaining(t))) {
		if ofKeyorch.MatchString(name) {
			n++
		}
	}
	return n
}

// fleetOf is links of which each third is held, and whose keys are of all ages.
func fleetOf(links int) *world {
	v := newWorld()
	now := time.Now()
	for i := range links {
		id := keychain.LinkID(fmt.Sprintf("link-%05d", i))
		v.change(id, steady(1, now.Add(-time.Duration(i)*time.Minute), now))
		if i%3 == 0 {
			v.change(id, staging(now.Add(-time.Duration(i)*time.Minute)))
		}
	}
	return v
}

func BenchmarkScrapeOf10000Links(b *testing.B) {
	w := NewWorker("keyorch")
	v := fleetOf(10_000)
	moment := time.Now()
	f := newFleet(v, v, w.ended, func() time.Time { moment = moment.Add(2 * freshFor); return moment })
	v.Take()
	for b.Loop() {
		f.figures()
	}
}
