package e2e_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
)

// measured is what was measured of one rotation of a fleet.
type measured struct {
	links   int
	took    time.Duration // the operator's command
	spent   spent
	unwraps int // requests to Vault to open keys
	written written
	floor   time.Duration
	// The processor time of the rotation, without the worker's and of it alone, and
	// that of the floor.
	cpuHere, cpuWorker, cpuFloor time.Duration
}

// figures is what was measured of one fleet. docs/benchmarks.md says what each
// figure means.
type figures struct {
	measured
	applied, joined, firstKeys time.Duration
	alive, dead                time.Duration // of the links without an end at one site
	packets                    sim.Stats
	// Shares of one core, in percent: the servers before anybody used them, the
	// servers and the agents, the worker, and what the links add.
	idleAlone, idleHere, idleWorker, idle float64
	workerMB                              float64
}

func (r measured) ratio() float64 { return r.took.Seconds() / r.floor.Seconds() }

func (r measured) rate() float64 { return float64(r.links) / r.took.Seconds() }

func (f figures) deadRatio() float64 { return f.dead.Seconds() / f.alive.Seconds() }

// String is two tables, in Markdown.
func (f figures) String() string {
	var b strings.Builder
	row := func(name, format string, a ...any) { fmt.Fprintf(&b, "| %s | %s |\n", name, fmt.Sprintf(format, a...)) }
	fmt.Fprintf(&b, "### %d links over %d sites\n\n| figure | value |\n| --- | ---: |\n", f.links, benchSites)
	row("`keyorch apply`", "%s", seconds(f.applied))
	row("agents of all sites connected", "%s", seconds(f.joined))
	row("`keyorch rotate --all`, first keys", "%s", seconds(f.firstKeys))
	row("**`keyorch rotate --all`**", "**%s**", seconds(f.took))
	row("links a second", "%.0f", f.rate())
	row("floor", "%s", seconds(f.floor))
	row("**times the floor**", "**%.2f**", f.ratio())
	row("processor time: servers, agents, command / worker / floor", "%s / %s / %s", seconds(f.cpuHere), seconds(f.cpuWorker), seconds(f.cpuFloor))
	row("requests to Vault: to mint / to open", "%d / %d", f.links, f.unwraps)
	row("written to etcd: transactions / keys / MB", "%d / %d / %.1f", len(f.written.transactions), f.written.keys, float64(f.written.bytes)/1e6)
	row("the other 99 sites, all alive", "%s", seconds(f.alive))
	row("the other 99 sites, one dead", "%s", seconds(f.dead))
	row("**one dead by all alive**", "**%.2f**", f.deadRatio())
	row("**packets lost** / with a counter used twice / sent", "**%d** / %d / %d", f.packets.Lost.Total(), f.packets.Reused, f.packets.Sent)
	row("**worker, most memory**", "**%.0f MB**", f.workerMB)
	row("idle: servers alone", "%.1f %% of a core", f.idleAlone)
	row("idle: servers and agents", "%.1f %%", f.idleHere)
	row("idle: worker", "%.1f %%", f.idleWorker)
	row("**idle: what the links add**", "**%.1f %%**", f.idle)
	return b.String() + "\n" + f.spent.String() + "\n"
}
