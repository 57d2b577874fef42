package e2e_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/link"
)

// pacific is two sites of which nothing is to be read in Temporal. Nauru may lose its
// counters.
const pacific = `
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: nauru}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: palau}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: nauru-1}
spec: {site: nauru, device: {kind: sim, network: "$SIM", counterBound: true}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: palau-1}
spec: {site: palau, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: nauru-palau}
spec: {upstream: [nauru-1], downstream: [palau-1], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: palau-nauru}
spec: {upstream: [palau-1], downstream: [nauru-1], policy: quick}
`

// codecFile writes a file of keys, and gives it as an environment.
func (w *world) codecFile(name string, keys ...string) []string {
	w.t.Helper()
	file := filepath.Join(w.Lab.Dir, name)
	must(w.t, os.WriteFile(file, []byte(strings.Join(keys, "\n")+"\n"), 0o600))
	return []string{wiring.CodecVariable + "=" + file}
}

func codecKey(t *testing.T) string {
	t.Helper()
	b := make([]byte, 32)
	_, err := rand.Read(b)
	must(t, err)
	return base64.StdEncoding.EncodeToString(b)
}

// TestTemporalCannotReadWhatIsSealed switches the codec on in the middle of a rotation,
// then looks for the names of links and sites in everything that Temporal keeps.
func TestTemporalCannotReadWhatIsSealed(t *testing.T) {
	w := newWorld(t)
	w.declare(threeSites + pacific)
	w.staff()
	w.rotate(0, "dc1-dc2", "dc1-dc3")
	w.run("teeth: in clear, they are found", func(t *testing.T) {
		if places := w.readable("dc1-dc2", "dc1-spine1"); len(places) < 3 {
			t.Errorf("found in %v alone", places)
		}
	})
	first, second := codecKey(t), codecKey(t)
	w.run("it is switched on halfway", func(t *testing.T) {
		w.slowly(150 * time.Millisecond)
		defer w.slowly(0)
		ended := w.rotating("dc1-dc2", "dc1-dc3")
		w.untilPhase("dc1-dc2", link.Switching)
		w.worker.Kill()
		w.Env = w.codecFile("codec", first)
		w.startWorker()
		ended(0)
		w.settled("dc1-dc2", 2)
		w.settled("dc1-dc3", 2)
	})
	w.traffic()
	w.run("every verb", func(t *testing.T) { w.liveSealed(t) })
	w.run("the keys change halfway", func(t *testing.T) { w.changesKeys(t, first, second) })
	w.run("nothing is readable", func(t *testing.T) {
		if places := w.readable("nauru", "palau"); len(places) > 0 {
			t.Errorf("found in %s", strings.Join(places, ", "))
		}
	})
	w.noReuse()
}

// liveSealed does everything that writes to Temporal.
func (w *world) liveSealed(t *testing.T) {
	w.rotate(0, "nauru-palau", "palau-nauru")

	w.agents["palau"].Kill()
	name := w.rotate(4, "nauru-palau", "palau-nauru", "--timeout", "2s", "--reason", "nauru moves").Campaign
	w.keyorch(0, "pause", name, "--reason", "palau is away")
	w.keyorch(0, "resume", name)
	w.keyorch(0, "abort", name, "--reason", "palau is away")
	w.startAgent("palau")
	w.settled("nauru-palau", 1)
	w.settled("palau-nauru", 1)

	w.keyorch(0, "schedule", "set", "nightly", "nauru-palau", "--cron", "0 0 29 2 *")
	w.keyorch(0, "schedule", "run-now", "nightly")
	before := w.record("nauru-palau").State.Highest
	w.settled("nauru-palau", before)
	said(t, w.keyorch(0, "schedule", "show", "nightly").Out, "nauru-palau")
	w.eventually("the schedule's run has ended", func() bool { return len(w.schedule("nightly").Running) == 0 })

	// A link that mends itself has its name in the ID of a workflow.
	mended := w.record("nauru-palau").State.To.Epoch
	w.Lab.Network.Node("nauru-1").RebootLosingKeys()
	w.settled("nauru-palau", mended+1)
	c := w.dialled()
	w.eventually("a workflow that mends is listed", func() bool {
		listed, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
		must(t, err)
		return slices.ContainsFunc(listed.GetExecutions(), func(e *workflowpb.WorkflowExecutionInfo) bool {
			return strings.HasPrefix(e.GetExecution().GetWorkflowId(), "mend-")
		})
	})

	sealed := w.Env
	w.Env = nil
	said(t, w.keyorch(3, "schedule", "show", "nightly").Err, "it is sealed with key ", "set KEYORCH_TEMPORAL_CODEC")
	w.Env = sealed
}

// changesKeys gives a worker the wrong file in the middle of a rotation: it waits. With
// both keys it goes on.
func (w *world) changesKeys(t *testing.T, first, second string) {
	before := w.record("nauru-palau").State.To.Epoch
	w.slowly(200 * time.Millisecond)
	defer w.slowly(0)
	ended := w.rotating("nauru-palau", "palau-nauru")
	w.untilPhase("nauru-palau", link.Staging)
	owner := w.record("nauru-palau").Owner
	w.worker.Kill()
	w.Env = w.codecFile("wrong", second)
	w.startWorker()
	w.logged("is missing in the file that KEYORCH_TEMPORAL_CODEC names")
	if s := w.record("nauru-palau").State; s.Phase != link.Staging || !w.runs(owner) {
		t.Errorf("without its key, the rotation went to %v", s.Phase)
	}
	w.worker.Kill()
	w.Env = w.codecFile("both", second, first)
	w.startWorker()
	ended(0)
	w.settled("nauru-palau", before+1)
	w.settled("palau-nauru", 1)
}

// readable is where Temporal keeps one of these names so that it can be read.
func (w *world) readable(names ...string) (places []string) {
	w.t.Helper()
	look := func(place string, data []byte) {
		for _, n := range names {
			if bytes.Contains(data, []byte(n)) {
				places = append(places, fmt.Sprintf("%s (%s)", place, n))
				return
			}
		}
	}
	for _, pattern := range []string{"temporal.*", "logs/temporal*"} {
		files, err := filepath.Glob(filepath.Join(w.Lab.Stack.Data, pattern))
		must(w.t, err)
		for _, f := range files {
			data, err := os.ReadFile(f)
			must(w.t, err)
			look(filepath.Base(f), data)
		}
	}
	c := w.dialled() // without keys
	listed, err := c.ListWorkflow(w.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
	must(w.t, err)
	if len(listed.GetExecutions()) < 2 {
		w.t.Fatal("temporal lists too few workflows to be true")
	}
	for _, e := range listed.GetExecutions() {
		id := e.GetExecution().GetWorkflowId()
		look("visibility of "+id, marshalled(w.t, e))
		d, err := c.DescribeWorkflowExecution(w.t.Context(), id, e.GetExecution().GetRunId())
		must(w.t, err)
		look("description of "+id, marshalled(w.t, d))
		for _, event := range w.historyOf(c, id, e.GetExecution().GetRunId()).Events {
			look(fmt.Sprintf("history of %s, event %d", id, event.GetEventId()), marshalled(w.t, event))
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

func marshalled(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	must(t, err)
	return data
}
