package guest

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/guest/protocol"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// Process is a program that runs in the background of the guest. A Restart ends
// it.
type Process struct {
	// Log is the file in the guest with what it printed, of earlier processes of
	// this name too.
	Log string
	g   *Guest
	m   *machine
	id  int
}

// gentle is how long a process may take to end when it is asked to.
const gentle = 5 * time.Second

// Spawn starts a program in the background, with env beside the guest's own
// environment. When the test fails, the end of its log is shown.
func (g *Guest) Spawn(t testing.TB, name string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{Log: "/disk/" + name + ".log", g: g, m: g.machine}
	id, err := call[protocol.ID](t.Context(), p.m, protocol.Spawn, protocol.Command{Args: args, Env: env, Log: p.Log})
	if err != nil {
		t.Fatalf("in the guest: start %s: %v", strings.Join(args, " "), err)
	}
	p.id = id.ID
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of %s:\n%s", p.Log, p.Tail(3000))
		}
	})
	return p
}

// Running reports whether it has not ended yet.
func (p *Process) Running(t testing.TB) bool {
	t.Helper()
	if p.m != p.g.machine {
		return false
	}
	now, err := call[protocol.Process](t.Context(), p.m, protocol.Look, protocol.ID{ID: p.id})
	must(t, err)
	return now.Running
}

// Kill kills the process and its group, and waits until it is gone.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
}

// Stop asks the process to end, and kills it when it does not.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	if p.signal(t, syscall.SIGTERM).Running {
		p.Kill(t)
	}
}

func (p *Process) signal(t testing.TB, s syscall.Signal) protocol.Process {
	t.Helper()
	if p.m != p.g.machine {
		return protocol.Process{}
	}
	now, err := call[protocol.Process](t.Context(), p.m, protocol.Signal, protocol.Signalled{ID: p.id, Signal: int(s), Wait: gentle})
	must(t, err)
	return now
}

// Tail is the last n bytes of what it printed, or why they cannot be had.
func (p *Process) Tail(n int) string {
	ctx, cancel := context.WithTimeout(context.Background(), gentle) // the test may have ended
	defer cancel()
	f, err := p.g.read(ctx, p.Log)
	if err != nil {
		return err.Error()
	}
	return f[max(0, len(f)-n):]
}

// Flow is a testbed.Flow between namespaces of the guest: the same traffic and the
// same counting, done in there. A Restart ends it without a count.
type Flow struct {
	m  *machine
	id int
}

// StartFlow begins to send.
func (g *Guest) StartFlow(t testing.TB, s testbed.FlowSpec) *Flow {
	t.Helper()
	id, err := call[protocol.ID](t.Context(), g.machine, protocol.Flow, s)
	must(t, err)
	return &Flow{m: g.machine, id: id.ID}
}

// Mark is the number of the next packet, to count from.
func (f *Flow) Mark(t testing.TB) uint64 {
	t.Helper()
	n, err := call[protocol.Number](t.Context(), f.m, protocol.Mark, protocol.ID{ID: f.id})
	must(t, err)
	return n.N
}

// Arrived is how many different packets have arrived so far.
func (f *Flow) Arrived(t testing.TB) int {
	t.Helper()
	n, err := call[protocol.Number](t.Context(), f.m, protocol.Arrived, protocol.ID{ID: f.id})
	must(t, err)
	return int(n.N)
}

// Since counts the packets sent since mark.
func (f *Flow) Since(t testing.TB, mark uint64) testbed.Count {
	t.Helper()
	c, err := call[testbed.Count](t.Context(), f.m, protocol.Since, protocol.Window{ID: f.id, From: mark})
	must(t, err)
	return c
}

// Stop ends the traffic and counts all of it.
func (f *Flow) Stop(t testing.TB) testbed.Count {
	t.Helper()
	c, err := call[testbed.Count](t.Context(), f.m, protocol.Stop, protocol.ID{ID: f.id})
	must(t, err)
	return c
}
