package rules

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Scale is by how much every time of this package is shortened before it is
// waited for: six seconds are sixty milliseconds. All times are written down, and
// reported, as they are before that.
const Scale = 100

func scaled(d time.Duration) time.Duration { return d / Scale }

// The network: branches around one centre, with a link in each direction between
// the centre and every branch.
const (
	Branches  = 20
	Links     = 2 * Branches
	Period    = 30 * time.Minute // from one rotation to the next
	Rotations = 3
	Interval  = time.Second // from one packet of a link to the next
	latency   = 50 * time.Millisecond
	// atTheEnd is the time before the end in which a link must have delivered
	// something, or it counts as being without traffic.
	atTheEnd = 10 * time.Minute
)

// Management: how long one operation is waited for, and how soon it is tried
// again.
const (
	giveUp   = 2 * time.Minute
	tryAgain = time.Second
)

// What is wrong with the management of a branch. Its packets flow all the time,
// with the keys that it has.
const (
	slowTakes = 45 * time.Second // every operation
	flapAway  = 10 * time.Minute // does not answer
	flapBack  = time.Minute      // and answers again
)

// Scenario is which branches are in trouble, one of each kind.
type Scenario struct {
	Name                 string
	Slow, Dead, Flapping bool
}

// Scenarios are those that every rule goes through.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "none"},
		{Name: "slow", Slow: true},
		{Name: "dead", Dead: true},
		{Name: "flapping", Flapping: true},
		{Name: "all three", Slow: true, Dead: true, Flapping: true},
	}
}

// Rule is how keys are rotated. New is called once, for a world in which every
// link is on epoch 1 and nothing is wrong yet; what it gives is called at the beginning of every period
// with the next epoch. The context of that call ends when the next period
// begins, that of New at the end of all.
type Rule struct {
	Name, Like string
	New        func(ctx context.Context, w *World) func(ctx context.Context, e keychain.Epoch)
}

// Rules are all that are compared; keyorch's is the last.
func Rules() []Rule {
	return []Rule{
		switchAfterTimer(), retireAfterTimer(), globalGate(0), globalGate(maximumWait), fixedDelay(), onePeriodBehind(), keyorch(),
	}
}

// Link is one link with its two ends.
type Link struct {
	ID               keychain.LinkID
	Branch           int // which it leads to or comes from
	Sender, Receiver *Side
}

// World is the network while one rule rotates its keys.
type World struct {
	Links   []*Link
	net     *sim.Network
	branch  []*sim.Node
	running sync.WaitGroup
}

// Each runs f for every link side by side, and comes back at once.
func (w *World) Each(f func(*Link)) {
	for _, l := range w.Links {
		w.running.Go(func() { f(l) })
	}
}

// Result is what became of one rule in one scenario.
type Result struct {
	Rule     Rule
	Scenario Scenario
	Stats    sim.Stats
	// Never counts the links whose sender never changed its key, Behind those whose
	// sender is not on the newest one at the end, and Silent those over which
	// nothing was delivered at the end.
	Never, Behind, Silent int
	// Elsewhere counts those of Never whose branch had nothing wrong.
	Elsewhere int
}

// Stalled reports whether links stood still that had nothing wrong.
func (r Result) Stalled() bool { return r.Elsewhere > 0 }

// Run lets a rule rotate all links three times, and counts. It takes as long as
// that takes, so it wants a clock of its own (testing/synctest).
func Run(ctx context.Context, rule Rule, in Scenario) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &World{net: sim.NewNetwork(sim.Options{Latency: scaled(latency)})}
	defer func() {
		cancel()
		w.net.Close()
		w.running.Wait()
	}()
	if err := w.build(ctx); err != nil {
		return Result{}, err
	}
	rotate := rule.New(ctx, w)
	w.trouble(ctx, in)
	stop := func() {}
	for n := range Rotations {
		sleep(ctx, Period)
		stop()
		var period context.Context
		period, stop = context.WithCancel(ctx)
		rotate(period, keychain.Epoch(2+n))
	}
	defer stop()
	sleep(ctx, Period-atTheEnd)
	before := map[keychain.LinkID]uint64{}
	for _, l := range w.Links {
		before[l.ID] = w.net.Stats(l.ID).Delivered
	}
	sleep(ctx, atTheEnd)
	return w.count(ctx, Result{Rule: rule, Scenario: in}, before)
}

// build makes nodes and links, puts epoch 1 in use and starts the traffic.
func (w *World) build(ctx context.Context) error {
	centre := w.net.Node("centre")
	for b := range Branches {
		id := keychain.NodeID(fmt.Sprintf("branch-%02d", b))
		n := w.net.Node(id)
		w.branch = append(w.branch, n)
		to, from := keychain.LinkID("to-"+id), keychain.LinkID("from-"+id)
		keys := [2]func(keychain.Epoch) secret.Key{newKeys(), newKeys()}
		w.Links = append(w.Links,
			&Link{ID: to, Branch: b, Sender: newSide(centre, "centre", to, keys[0]), Receiver: newSide(n, id, to, keys[0])},
			&Link{ID: from, Branch: b, Sender: newSide(n, id, from, keys[1]), Receiver: newSide(centre, "centre", from, keys[1])})
	}
	for _, l := range w.Links {
		for _, s := range []*Side{l.Receiver, l.Sender} {
			w.running.Go(func() { s.serve(ctx) })
		}
		if !came(ctx, l.Receiver.Ask(Wish{Accept: []keychain.Epoch{1}})) || !came(ctx, l.Sender.Ask(Wish{Send: 1})) {
			return ctx.Err()
		}
		w.net.Traffic(l.ID, []keychain.NodeID{l.Sender.Node}, []keychain.NodeID{l.Receiver.Node}, scaled(Interval))
	}
	return nil
}

// newKeys makes the keys of one link, at random, when they are asked for.
func newKeys() func(keychain.Epoch) secret.Key {
	var mu sync.Mutex
	made := map[keychain.Epoch]secret.Key{}
	return func(e keychain.Epoch) secret.Key {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := made[e]; !ok {
			b := make([]byte, secret.Size)
			_, _ = rand.Read(b) // never fails (crypto/rand)
			made[e] = secret.New(b)
		}
		return made[e]
	}
}

// trouble begins after the first keys are in use. The branches 0, 1 and 2 are the
// slow, the dead and the flapping one.
func (w *World) trouble(ctx context.Context, in Scenario) {
	if in.Slow {
		w.branch[0].Slow(scaled(slowTakes))
	}
	if in.Dead {
		w.branch[1].Dead(true)
	}
	if in.Flapping {
		w.running.Go(func() {
			for away := true; ctx.Err() == nil; away = !away {
				w.branch[2].Dead(away)
				sleep(ctx, map[bool]time.Duration{true: flapAway, false: flapBack}[away])
			}
		})
	}
}

func (in Scenario) hits(branch int) bool {
	return in.Slow && branch == 0 || in.Dead && branch == 1 || in.Flapping && branch == 2
}

// count ends the traffic, lets what is in flight arrive, and counts.
func (w *World) count(ctx context.Context, r Result, before map[keychain.LinkID]uint64) (Result, error) {
	w.net.Close()
	sleep(ctx, 2*latency)
	for b := range w.branch { // so that they can be asked
		w.branch[b].Dead(false)
		w.branch[b].Slow(0)
	}
	for _, l := range w.Links {
		s := w.net.Stats(l.ID)
		r.Stats = r.Stats.Add(s)
		if s.Delivered == before[l.ID] {
			r.Silent++
		}
		o, err := l.Sender.dev.Upstream().Observe(ctx, l.ID)
		if err != nil {
			return r, err
		}
		if o.Sends.Epoch < 1+Rotations {
			r.Behind++
		}
		if o.Sends.Epoch == 1 {
			r.Never++
			if !r.Scenario.hits(l.Branch) {
				r.Elsewhere++
			}
		}
	}
	return r, ctx.Err()
}
