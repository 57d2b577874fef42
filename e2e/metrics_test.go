package e2e_test

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// scraped is what a process says to Prometheus, by series.
func scraped(t *testing.T, address string) map[string]float64 {
	t.Helper()
	r, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return nil // it does not listen yet
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	must(t, err)
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if m := series.FindStringSubmatch(line); m != nil {
			all[m[1]], err = strconv.ParseFloat(m[2], 64)
			must(t, err)
		}
	}
	return all
}

var series = regexp.MustCompile(`^([a-z_]+(?:\{[^}]*\})?) (\S+)\s*$`)

// shows waits until a process shows figures: as they are, or at least so large.
func (w *world) shows(address, what string, want map[string]float64, atLeast bool) {
	w.t.Helper()
	var got map[string]float64
	w.eventually(what, func() bool {
		got = scraped(w.t, address)
		for s, n := range want {
			if v, ok := got[s]; !ok || v != n && (!atLeast || v < n) {
				return false
			}
		}
		return true
	})
}

func TestMetricsFollowARotationAndAHeldLink(t *testing.T) {
	w := newWorld(t)
	w.declare(strings.Replace(threeSites, "{drain: 300ms}", "{drain: 300ms, wait: 1s}", 1))
	worker, agent := nobody(t), nobody(t)
	var err error
	w.worker, err = w.Worker(t.Context(), "--metrics-listen", worker)
	must(t, err)
	w.agents["dc1"], err = w.Agent(t.Context(), "dc1", "--metrics-listen", agent)
	must(t, err)
	w.startAgent("dc2")
	w.startAgent("dc3")
	w.shows(worker, "nothing has been rotated", map[string]float64{
		"keyorch_links_declared": 4, "keyorch_links_without_key": 4, `keyorch_links{phase="Steady"}`: 0,
	}, false)
	w.rotate(0, "--all")
	w.shows(worker, "all have a key", map[string]float64{
		"keyorch_links_without_key": 0, `keyorch_links{phase="Steady"}`: 4, "keyorch_links_held": 0,
		`keyorch_rotations_total{outcome="rotated"}`: 4, `keyorch_nodes{present="true"}`: 4, `keyorch_campaigns{state="ended"}`: 1,
	}, false)
	// dc1-spine1 sends on two links and accepts on two: four orders of one side, and
	// the first switch of each sender.
	w.shows(agent, "the agent has confirmed its orders", map[string]float64{
		`keyorch_confirm_seconds_count{kind="sim",role="downstream"}`: 2, `keyorch_confirm_seconds_count{kind="sim",role="upstream"}`: 2,
		`keyorch_switch_seconds_count{kind="sim"}`: 2, `keyorch_vault_request_seconds_count{op="unwrap",outcome="ok"}`: 1,
	}, true)

	w.Lab.Network.Node("dc3-spine1").Dead(true)
	w.Lab.Network.Node("dc1-spine1").FailNext("switch")
	w.rotate(4, "dc1-dc2", "dc1-dc3", "--timeout", "3s")
	w.shows(worker, "a link is held", map[string]float64{
		"keyorch_links_held": 1, `keyorch_links{phase="Staging"}`: 1, `keyorch_links{phase="Steady"}`: 3,
		`keyorch_rotations_total{outcome="rotated"}`: 5,
	}, false)
	w.shows(agent, "the agent has seen its device fail", map[string]float64{`keyorch_device_faults_total{fault="unavailable",kind="sim"}`: 1}, true)
	if h := scraped(t, worker)[`keyorch_held_seconds{stat="max"}`]; h <= 0 || h > patience.Seconds() {
		t.Errorf("it is held for %v s", h)
	}
	w.Lab.Network.Node("dc3-spine1").Dead(false)
	w.shows(worker, "it goes on", map[string]float64{"keyorch_links_held": 0, `keyorch_rotations_total{outcome="rotated"}`: 6}, false)
	for s := range scraped(t, worker) {
		if strings.Contains(s, "dc1") {
			t.Errorf("a series names what it should not: %s", s)
		}
	}
}
