package metrics

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// watching runs Watch in a bubble whose clock begins on 1 January 2000, until the
// test ends.
func watching(t *testing.T, v *world) *Worker {
	t.Helper()
	w := NewWorker("keyorch")
	ctx, cancel := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() { w.Watch(ctx, v) })
	t.Cleanup(func() { cancel(); over.Wait() })
	synctest.Wait()
	return w
}

func TestTheFleetAtOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		v := newWorld()
		v.topology.Policies = []topology.Policy{{Name: "strict", Wait: time.Minute, Drain: 2 * time.Hour, KeyAge: topology.KeyAge{Warn: day, Max: 2 * day}}}
		for _, id := range []keychain.LinkID{"new", "young", "old", "older", "waiting", "held", "draining", "quarantined"} {
			v.declare(id, "strict")
		}
		v.change("young", steady(1, now.Add(-time.Hour), now.Add(-time.Hour)))
		v.change("old", steady(1, now.Add(-30*time.Hour), now.Add(-29*time.Hour)))
		v.change("older", steady(1, now.Add(-3*day), now.Add(-3*day)))
		v.change("waiting", steady(1, now.Add(-time.Hour), now.Add(-time.Hour)))
		v.change("waiting", staging(now.Add(-30*time.Second)))
		v.change("held", steady(1, now.Add(-time.Hour), now.Add(-time.Hour)))
		v.change("held", staging(now.Add(-2*time.Hour)))
		v.change("draining", steady(1, now.Add(-time.Hour), now.Add(-time.Hour)))
		v.change("draining", staging(now.Add(-time.Hour)))
		v.change("draining", func(r *link.Record) { r.State.Phase = link.Draining })
		v.change("quarantined", steady(1, now.Add(-time.Hour), now.Add(-time.Hour)))
		v.change("quarantined", func(r *link.Record) { r.Quarantined = []link.Quarantine{{Node: "quarantined-b"}} })
		v.present = []keychain.NodeID{"new-a", "old-a", "old-b"}
		v.campaigns = []campaign.Record{{State: campaign.Paused}, {State: campaign.Ended}, {State: campaign.Ended}}

		w := watching(t, v)
		want(t, scraped(t, w.Handler(complaining(t))), map[string]float64{
			`keyorch_links{phase="Steady"}`:              4,
			`keyorch_links{phase="Staging"}`:             2,
			`keyorch_links{phase="Draining"}`:            1,
			`keyorch_links{phase="Retiring"}`:            0,
			`keyorch_links_declared`:                     8,
			`keyorch_links_without_key`:                  1,
			`keyorch_links_held`:                         1,
			`keyorch_links_held_longer{than="1h"}`:       1,
			`keyorch_links_held_longer{than="6h"}`:       0,
			`keyorch_held_seconds{stat="max"}`:           7200,
			`keyorch_links_quarantined`:                  1,
			`keyorch_link_key_age_seconds{stat="p50"}`:   3600,
			`keyorch_link_key_age_seconds{stat="max"}`:   3 * 86400,
			`keyorch_links_key_older{than="1h"}`:         2,
			`keyorch_links_key_older{than="2d"}`:         1,
			`keyorch_links_key_older{than="7d"}`:         0,
			`keyorch_links_key_overdue{level="warn"}`:    2,
			`keyorch_links_key_overdue{level="max"}`:     1,
			`keyorch_campaigns{state="paused"}`:          1,
			`keyorch_campaigns{state="ended"}`:           2,
			`keyorch_campaigns{state="running"}`:         0,
			`keyorch_nodes{present="true"}`:              3,
			`keyorch_nodes{present="false"}`:             13,
			`keyorch_rotations_total{outcome="rotated"}`: 0,
		})
	})
}

func TestAScrapeSeesWhatHasJustChangedButComputesOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newWorld()
		v.declare("a", "")
		w := watching(t, v)
		h := w.Handler(complaining(t))
		want(t, scraped(t, h), map[string]float64{"keyorch_links_without_key": 1})
		v.change("a", steady(1, time.Now(), time.Now()))
		want(t, scraped(t, h), map[string]float64{"keyorch_links_without_key": 1})
		time.Sleep(freshFor)
		want(t, scraped(t, h), map[string]float64{"keyorch_links_without_key": 0})
	})
}

func TestDriftIsThereForAsLongAsItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newWorld()
		v.change("a", steady(2, time.Now(), time.Now()))
		v.change("a", func(r *link.Record) {
			r.State.Upstream, r.State.Downstream = []keychain.NodeID{"u"}, []keychain.NodeID{"d"}
		})
		v.report("a", keychain.Report{Node: "u", Sends: keychain.Ref{Epoch: 1}}, keychain.Report{Node: "d"})
		w := watching(t, v)
		h := w.Handler(complaining(t))
		want(t, scraped(t, h), map[string]float64{
			`keyorch_drift_findings{kind="old-epoch"}`: 1, `keyorch_drift_findings{kind="missing-key"}`: 1,
			`keyorch_drift_findings{kind="wrong-kcv"}`: 0,
		})
		v.report("a", keychain.Report{Node: "u", Sends: keychain.Ref{Epoch: 2}}, keychain.Report{Node: "d"})
		time.Sleep(freshFor)
		want(t, scraped(t, h), map[string]float64{
			`keyorch_drift_findings{kind="old-epoch"}`: 0, `keyorch_drift_findings{kind="missing-key"}`: 1,
		})
	})
}

// TestAReportIsNeverNewerThanItsRecord has a node confirm the next phase between
// the two looks at the view.
func TestAReportIsNeverNewerThanItsRecord(t *testing.T) {
	v := newWorld()
	v.change("a", steady(1, time.Now(), time.Now()))
	v.change("a", func(r *link.Record) {
		r.State.Turn, r.State.Upstream, r.State.Downstream = 4, []keychain.NodeID{"u"}, []keychain.NodeID{"d"}
	})
	racing := &racingWorld{world: v}
	f := newFleet(racing, v, func(link.Attempt) {}, time.Now)
	if n := f.figures().drift[link.TurnWentBack]; n != 0 {
		t.Errorf("%d nodes seem to be ahead of their links", n)
	}
	if racing.looks == 0 {
		t.Error("nothing happened between the looks")
	}
}

// racingWorld moves link a on, record and report, after each look at either.
type racingWorld struct {
	*world
	looks int
}

func (w *racingWorld) Record(id keychain.LinkID) (link.Record, bool) {
	defer w.move()
	return w.world.Record(id)
}

func (w *racingWorld) Reports(id keychain.LinkID) []keychain.Report {
	defer w.move()
	return w.world.Reports(id)
}

func (w *racingWorld) move() {
	w.looks++
	w.change("a", func(r *link.Record) { r.State.Turn++ })
	r, _ := w.world.Record("a")
	w.report("a", keychain.Report{Node: "d", Turn: r.State.Turn, Accepts: []keychain.Ref{{Epoch: 1}}})
}

func TestRotationsThatEndAreCountedOnce(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble's first moment
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	for name, c := range map[string]struct {
		before func(*world)
		then   []func(*world)
		want   float64
	}{
		"one that had ended before is not": {
			before: func(v *world) { v.change("a", steady(1, at(-9), at(-8))) },
			then:   []func(*world){func(v *world) { v.change("a", func(*link.Record) {}) }},
		},
		"one that is seen step by step is": {
			before: func(v *world) { v.change("a", steady(1, at(-9), at(-8))) },
			then: []func(*world){
				func(v *world) { v.change("a", staging(at(1))) },
				func(v *world) { v.change("a", steady(2, at(1), at(2))) },
				func(v *world) { v.change("a", func(*link.Record) {}) },
			},
			want: 1,
		},
		"one whose way was missed is": {
			before: func(v *world) { v.change("a", steady(1, at(-9), at(-8))) },
			then:   []func(*world){func(v *world) { v.change("a", steady(2, at(1), at(2))) }},
			want:   1,
		},
		"one that was under way at the start is": {
			before: func(v *world) { v.change("a", steady(1, at(-9), at(-8))); v.change("a", staging(at(-1))) },
			then:   []func(*world){func(v *world) { v.change("a", steady(2, at(-1), at(2))) }},
			want:   1,
		},
		"the first of a new link is": {
			then: []func(*world){func(v *world) { v.change("a", staging(at(1))) }, func(v *world) { v.change("a", steady(1, at(1), at(2))) }},
			want: 1,
		},
		"the first of a new link is, seen when it had ended": {
			then: []func(*world){func(v *world) { v.change("a", steady(1, at(1), at(2))) }},
			want: 1,
		},
		"an old one of a record that could not be read is not": {
			then: []func(*world){func(v *world) { v.change("a", steady(1, at(-9), at(-8))) }},
		},
		"one that a gap in the record brings again is not": {
			before: func(v *world) { v.declare("a", ""); v.change("a", steady(1, at(-9), at(-8))) },
			then: []func(*world){
				func(v *world) { v.change("a", steady(2, at(1), at(2))) },
				func(v *world) { v.forget("a") },
				func(v *world) { v.change("a", steady(2, at(1), at(2))) },
			},
			want: 1,
		},
		"one that an older backup brings back is not": {
			before: func(v *world) { v.change("a", steady(3, at(-9), at(-8))) },
			then: []func(*world){
				func(v *world) { v.change("a", staging(at(1))) },
				func(v *world) { v.change("a", steady(2, at(-20), at(-19))) },
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newWorld()
				if c.before != nil {
					c.before(v)
				}
				w := watching(t, v)
				for _, then := range c.then {
					time.Sleep(time.Second)
					then(v)
				}
				time.Sleep(time.Second)
				got := scraped(t, w.Handler(complaining(t)))
				want(t, got, map[string]float64{`keyorch_rotations_total{outcome="rotated"}`: c.want})
				if n := got[`keyorch_rotation_seconds_count{outcome="rotated"}`]; n != c.want {
					t.Errorf("%v rotations have a duration, want %v", n, c.want)
				}
			})
		})
	}
}

func TestHooksOfAWorkerAreCounted(t *testing.T) {
	w := NewWorker("keyorch")
	w.Began(40)
	w.Committed(3)
	w.EtcdRequest("txn", 3*time.Millisecond, nil)
	w.EtcdRequest("txn", time.Second, fault.New(fault.Unavailable, "reach etcd"))
	w.EtcdRequest("get", time.Second, fmt.Errorf("x: %w", context.Canceled))
	w.EtcdRequest("dc1-dc2", time.Second, errors.New("x"))
	w.VaultRequest("mint", 2*time.Second, fault.New(fault.Refused, "mint"))
	w.ended(link.Attempt{Outcome: link.Aborted, Begun: time.Unix(100, 0), Ended: time.Unix(104, 0)})
	w.ended(link.Attempt{Outcome: "dc1-dc2"})
	got := scraped(t, w.Handler(complaining(t)))
	want(t, got, map[string]float64{
		`keyorch_batch_links_sum`:                                            40,
		`keyorch_commit_links_sum`:                                           3,
		`keyorch_etcd_request_seconds_count{op="txn",outcome="ok"}`:          1,
		`keyorch_etcd_request_seconds_count{op="txn",outcome="unavailable"}`: 1,
		`keyorch_etcd_request_seconds_count{op="get",outcome="cancelled"}`:   1,
		`keyorch_etcd_request_seconds_count{op="other",outcome="unknown"}`:   1,
		`keyorch_vault_request_seconds_sum{op="mint",outcome="refused"}`:     2,
		`keyorch_rotations_total{outcome="aborted"}`:                         1,
		`keyorch_rotations_total{outcome="other"}`:                           1,
		`keyorch_rotation_seconds_sum{outcome="aborted"}`:                    4,
	})
	if _, there := got["keyorch_links_held"]; there {
		t.Error("a worker that has seen no fleet yet says that no link is held")
	}
}
