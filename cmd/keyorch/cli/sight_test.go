package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

func TestFindsWhatANameMeans(t *testing.T) {
	f := smallFleet()
	f.topology.Sites = append(f.topology.Sites, topology.Site{Name: "b1"}, topology.Site{Name: "l00000"})
	for _, c := range []struct{ name, want, says string }{
		{"l00001", "[link/l00001]", ""},
		{"l00000", "[link/l00000 site/l00000]", ""},
		{"site/l00000", "[site/l00000]", ""},
		{"nightly", "[campaign/nightly]", ""},
		{"b1", "[node/b1 site/b1]", ""},
		{"oslo", "[site/oslo]", ""},
		{"nobody", "[]", "no link, campaign, node or site"},
		{"node/oslo", "[]", "keyorch get nodes"},
		{"agent/oslo", "[]", "use link/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := f.sight().find(c.name)
			if got := fmt.Sprint(found); got != c.want {
				t.Errorf("it finds %s, not %s", got, c.want)
			}
			if c.says != "" && (err == nil || fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("it says %v, not %q", err, c.says)
			}
		})
	}
}

func TestCountersThatOnlyReportsTellOf(t *testing.T) {
	for _, c := range []struct {
		last time.Duration
		says string
	}{
		{4 * time.Second, "the last 4s ago"},
		{50 * time.Second, "the next step is due"}, // quiet for long enough: a worker is wanted
		{10 * time.Minute, "the next step is due"}, // before upstream switched: counted from then
	} {
		f := draining(c.last)
		x, _, _ := f.sight().snapshot(linkName(0))
		if got := link.Explain(linkName(0), x).Reason; !strings.Contains(got, c.says) {
			t.Errorf("%v after the last packet: %q, want %q in it", c.last, got, c.says)
		}
		x.Quieted = nil // teeth: without what reports tell, nobody has watched
		if got := link.Explain(linkName(0), x).Reason; !strings.Contains(got, "have not been watched") {
			t.Errorf("without reports: %q", got)
		}
	}
}

func TestAWindowIsAskedForOncePerPolicyAndForwardOnly(t *testing.T) {
	c := &closures{}
	p := topology.Policy{Name: "nights", Windows: []topology.Window{{From: "22:00", To: "04:00"}}}
	if c.of(p, morning).Open() {
		t.Error("it is open at 06:00")
	}
	p.Windows = nil // what would be said if it were asked again
	if c.of(p, morning.Add(time.Millisecond)).Open() {
		t.Error("it was asked again at once")
	}
	if !c.of(p, morning.Add(2*time.Second)).Open() {
		t.Error("it was not asked again")
	}
	f := smallFleet()
	r := f.staging(0)
	f.topology.Policies = []topology.Policy{{Name: "nights", Windows: []topology.Window{{From: "22:00", To: "04:00"}}}}
	f.topology.Links[0].Policy = "nights"
	if x, _, _ := f.sight().snapshot(r.Link); x.Closed == "" {
		t.Error("a rotation that goes forward is not told of its window")
	}
	r.Last.Urgent = true
	if x, _, _ := f.sight().snapshot(r.Link); x.Closed != "" {
		t.Errorf("an urgent rotation is told %q", x.Closed)
	}
}

func TestDriftWantsAPersonWhereNobodyElseHelps(t *testing.T) {
	f := drifting()
	both := []keychain.LinkID{linkName(0), linkName(1)}
	if o := f.sight().drift(both[:1], time.Hour); len(o.Drift) != 1 || o.needsHelp() != 0 || len(o.Repaired) != 1 {
		t.Errorf("a missing key with an agent there: %+v", o)
	}
	if o := f.sight().drift(both, time.Hour); len(o.Drift) != 2 || o.needsHelp() != 1 || o.Drift[0].Kind != link.WrongKCV {
		t.Errorf("another key: %+v", o)
	}
	if o := f.sight().drift(both, time.Second); len(o.Repaired) != 0 {
		t.Errorf("repairs of long ago: %+v", o.Repaired)
	}
	f.absent = "b1"
	if o := f.sight().drift(both[:1], time.Hour); o.needsHelp() != 1 || !strings.Contains(o.Drift[0].Command, "start the agent") {
		t.Errorf("a missing key with no agent there: %+v", o)
	}
}

// TestStatusOfTenThousandLinksTakesLessThanASecond: of five attempts one, since others may
// keep the processor.
func TestStatusOfTenThousandLinksTakesLessThanASecond(t *testing.T) {
	f := many(10_000)
	took := time.Hour
	for range 5 {
		began := time.Now()
		s := f.sight()
		o := s.status(s.links())
		waves, err := s.waves(t.Context(), o.newest)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		printSummary(&b, morning, o, waves)
		if err := asJSON.print(io.Discard, o); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "\n"); n > 60 {
			t.Fatalf("of ten links in trouble it prints %d lines", n)
		}
		if took = min(took, time.Since(began)); took < time.Second {
			return
		}
	}
	t.Errorf("it took %v", took)
}

func TestARefusalIsAskedAgainOnlyByAnotherAgent(t *testing.T) {
	f := smallFleet()
	r := f.staging(0)
	f.report(r.Link, keychain.Report{Node: "b1", Turn: 9, At: morning, Fault: "refused", Message: "no such slot", Accepts: []keychain.Ref{key(2).Ref}})
	if got := f.sight().whyLink(r.Link).Unblock; got != "put right what b1 complains of, and restart its agent, or go back: keyorch abort l00000" {
		t.Errorf("it helps with %q", got)
	}
	f.absent = "b1"
	if got := f.sight().whyLink(r.Link).Unblock; !strings.HasPrefix(got, "start the agent of node b1") {
		t.Errorf("with no agent there it helps with %q", got)
	}
}
