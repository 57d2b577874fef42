package e2e_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
)

// figures is what was measured of one fleet; docs/benchmarks.md says what each
// means.
type figures struct {
	links              int
	applied, joined    time.Duration
	firstKeys, took    time.Duration
	begun              time.Time
	from, to           int64 // etcd's revisions
	spent              spent
	unwraps            int // requests to Vault to open keys
	transactions, keys int
	mbytes             float64
	floor              time.Duration
	dead, alive        time.Duration
	sent, lost, reused uint64
	idleAlone          float64 // the servers before anybody used them
	idleHere           float64 // the servers and the agents
	idleWorker, idle   float64
	workerMB           float64
}

func (f *figures) count(s sim.Stats) { f.sent, f.lost, f.reused = s.Sent, s.Lost.Total(), s.Reused }

func (f figures) ratio() float64 { return f.took.Seconds() / f.floor.Seconds() }

func (f figures) deadRatio() float64 { return f.dead.Seconds() / f.alive.Seconds() }

// String is a table of everything, in Markdown.
func (f figures) String() string {
	var b strings.Builder
	row := func(name, format string, a ...any) { fmt.Fprintf(&b, "| %s | %s |\n", name, fmt.Sprintf(format, a...)) }
	fmt.Fprintf(&b, "### %d links over %d sites\n\n| figure | value |\n| --- | ---: |\n", f.links, benchSites)
	row("`keyorch apply`", "%s", seconds(f.applied))
	row("agents of all sites connected", "%s", seconds(f.joined))
	row("`keyorch rotate --all`, first keys", "%s", seconds(f.firstKeys))
	row("`keyorch rotate --all`", "%s", seconds(f.took))
	row("links a second", "%.0f", float64(f.links)/f.took.Seconds())
	row("floor: the same Vault calls and etcd writes alone", "%s", seconds(f.floor))
	row("times the floor", "%.2f", f.ratio())
	row("Vault requests: to mint / to open", "%d / %d", f.links, f.unwraps)
	row("etcd transactions / keys / MB written", "%d / %d / %.1f", f.transactions, f.keys, f.mbytes)
	row("the other 99 sites, all alive", "%s", seconds(f.alive))
	row("the other 99 sites, one dead", "%s", seconds(f.dead))
	row("one dead by all alive", "%.2f", f.deadRatio())
	row("packets sent / lost / with a counter used twice", "%d / %d / %d", f.sent, f.lost, f.reused)
	row("worker, most memory", "%.0f MB", f.workerMB)
	row("idle, of one core: servers alone", "%.1f %%", f.idleAlone)
	row("idle, of one core: servers and agents", "%.1f %%", f.idleHere)
	row("idle, of one core: worker", "%.1f %%", f.idleWorker)
	row("idle, of one core: what the links add", "%.1f %%", f.idle)
	return b.String() + "\n" + f.spent.String() + "\n"
}
