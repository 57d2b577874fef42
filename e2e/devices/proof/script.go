package proof

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

const (
	// patience is how long anything may take that must happen by itself.
	patience = 90 * time.Second
	// rotations is how many the script counts packets over, beside those that are
	// troubled.
	rotations = 4
	// telling is how long a wrong order goes on after the first packet was lost.
	telling = 2 * time.Second
	// heldFor is how long a rotation whose install fails is waited for.
	heldFor = "6s"
)

// policy is what every link of a proof has: long enough in Draining to be aborted
// there.
const policy = `
apiVersion: keyorch/v1
kind: Policy
metadata: {name: proof}
spec: {drain: 2s}
---
`

// Run proves one device, and adds its row to the table.
func Run(t *testing.T, s *Stack, d Device) {
	p := &script{T: t, Stack: s, Device: d, row: Row{Kind: d.Kind}, held: map[keychain.LinkID]keychain.Epoch{}}
	if p.Agents == nil {
		p.Agents = p.localAgents
	}
	p.Apply(t, policy+strings.TrimSpace(d.Topology)+"\n")
	stop := p.Agents(t)
	p.rotate(0)
	p.traffic = d.Traffic(t)
	p.recovers("the first key carries traffic")
	p.step("rotations", p.rotations)
	p.step("an install that fails", p.failingInstall)
	p.step("abort after the switch", p.abortAfterSwitch)
	p.step("restart", p.restart)
	p.step("wrong order", func() { stop = p.wrongOrder(stop) })
	if p.Reused != nil {
		p.row.Reused = p.Reused(t)
		if p.row.Reused > 0 {
			t.Errorf("%d packets went out with a key and a counter that had been used before", p.row.Reused)
		}
	}
	stop()
	p.row.Stage, p.row.Switch = p.times()
	if !t.Failed() {
		record(p.row)
	}
}

// script is one run of it.
type script struct {
	*testing.T
	*Stack
	Device
	traffic []Direction
	row     Row
	// held are the epochs of the rotation whose install fails, by link: how long
	// they took is the script's doing.
	held map[keychain.LinkID]keychain.Epoch
}

// step runs one part of the script; what goes wrong in it ends the proof, since
// the parts build on each other.
func (p *script) step(name string, f func()) {
	p.Helper()
	began := time.Now()
	f()
	p.Logf("%s: %s: %v", p.Kind, name, time.Since(began).Round(100*time.Millisecond))
}

func (p *script) localAgents(t *testing.T) (stop func()) {
	var agents []*testbed.Process
	for _, site := range p.Sites {
		agents = append(agents, p.Agent(t, site))
	}
	return func() {
		for _, a := range agents {
			a.Kill()
		}
	}
}

// rotate rotates all links and wants the exit code.
func (p *script) rotate(code int, flags ...string) []workflows.Result {
	p.Helper()
	args := append([]string{"rotate", "-o", "json"}, flags...)
	for _, l := range p.Links {
		args = append(args, string(l))
	}
	said := p.Verb(p.T, code, args...)
	var r struct {
		Links []workflows.Result `json:"links"`
	}
	if err := json.Unmarshal([]byte(said.Out), &r); err != nil {
		p.Fatalf("rotate -o json: %v\n%s", err, said.Out)
	}
	return r.Links
}

// counted runs f under traffic, and wants no more lost than changes of key may
// cost.
func (p *script) counted(what string, changes int, f func()) {
	p.Helper()
	var marks []uint64
	for _, d := range p.traffic {
		marks = append(marks, d.Mark())
	}
	f()
	for i, d := range p.traffic {
		c := d.Since(marks[i])
		p.row.Packets += c.Sent
		p.row.Lost += c.Lost
		p.row.Tolerated += changes * d.Tolerated
		if c.Sent == 0 || c.Lost > changes*d.Tolerated {
			p.Fatalf("%s: %s: %d packets sent, %d lost\n%s", what, d.Name, c.Sent, c.Lost, p.standing())
		}
	}
}

func (p *script) rotations() {
	p.counted("rotations", rotations, func() {
		for range rotations {
			p.rotate(0)
		}
	})
	p.row.Rotations += rotations
}

// failingInstall: the old key stays and carries the traffic, the operator reads
// why, and the link goes on by itself once it can.
func (p *script) failingInstall() {
	before := p.states()
	p.counted("an install that fails", 1, func() {
		mend := p.BreakInstall(p.T)
		held := p.rotate(4, "--timeout", heldFor)
		says := ""
		for i, l := range p.Links {
			p.held[l] = before[i].Highest + 1
			says += p.Verb(p.T, 0, "why", string(l)).Out
			if now := p.state(l); now.Sends().Epoch != before[i].To.Epoch && now.To.Epoch != now.Sends().Epoch {
				p.Errorf("%s sends with %v while it is held, want %v", l, now.Sends(), before[i].To)
			}
		}
		if !slices.ContainsFunc(held, func(r workflows.Result) bool { return r.Outcome == link.Held }) || !strings.Contains(says, p.Says) {
			p.Errorf("a failing install says\n%s\nwant the device's own words: %q", says, p.Says)
		}
		mend()
		for i, l := range p.Links {
			p.settled(l, before[i].To.Epoch+1)
		}
	})
	p.row.Rotations++
}

// abortAfterSwitch: back to the key before, which every receiver still accepts.
func (p *script) abortAfterSwitch() {
	before := p.states()
	p.counted("abort after the switch", 2, func() {
		ended := make(chan Said, 1)
		args := []string{"rotate"}
		for _, l := range p.Links {
			args = append(args, string(l))
		}
		go func() { ended <- p.Stack.Run(p.Context(), args...) }()
		for _, l := range p.Links {
			p.until(fmt.Sprintf("%s has switched", l), func() bool { s := p.state(l); return s.Phase == link.Draining && s.To.Epoch > before[0].To.Epoch })
			p.Verb(p.T, 0, "abort", string(l), "--reason", "a test")
		}
		if said := <-ended; said.Code != 5 {
			p.Errorf("rotate ended with %d, want 5: aborted\n%s%s", said.Code, said.Out, said.Err)
		}
		for i, l := range p.Links {
			p.settled(l, before[i].To.Epoch)
			if now := p.state(l); now.To.Ref != before[i].To.Ref {
				p.Errorf("%s ends on %v, want the key before the abort, %v", l, now.To.Ref, before[i].To.Ref)
			}
		}
	})
	p.row.Rotations++
}

// restart is not counted: a machine that is down sends and receives nothing.
func (p *script) restart() {
	before := p.states()
	p.Restart(p.T)
	if p.NewEpoch {
		p.until("a new epoch is in use", func() bool {
			for i, l := range p.Links {
				if s := p.state(l); s.Phase == link.Steady && s.To.Epoch > before[i].To.Epoch {
					return true
				}
			}
			return false
		})
	}
	for i, l := range p.Links {
		p.settled(l, before[i].To.Epoch)
	}
	p.recovers("traffic flows again after a restart")
	p.counted("the rotation after a restart", 1, func() { p.rotate(0) })
	p.row.Rotations++
}

// wrongOrder is the negative control: without it a count of nought says nothing.
func (p *script) wrongOrder(stop func()) func() {
	stop()
	var marks []uint64
	for _, d := range p.traffic {
		marks = append(marks, d.Mark())
	}
	p.WrongOrder(p.T)
	lost, dropped := testbed.Count{}, false
	p.until("the wrong order costs packets", func() bool {
		lost = testbed.Count{}
		for i, d := range p.traffic {
			lost = lost.Plus(d.Since(marks[i]))
		}
		dropped = dropped || p.Dropped != nil && p.Dropped(p.T)
		return lost.Lost > 0
	})
	time.Sleep(telling)
	lost = testbed.Count{}
	for i, d := range p.traffic {
		lost = lost.Plus(d.Since(marks[i]))
	}
	p.row.Control = fmt.Sprintf("%d of %d lost", lost.Lost, lost.Sent)
	if dropped {
		p.row.Control += ", adjacency down"
	}
	stop = p.Agents(p.T)
	p.recovers("the agents put a wrong order right")
	return stop
}

// recovers waits until a second of traffic goes through whole, in every direction.
func (p *script) recovers(what string) {
	p.Helper()
	p.until(what, func() bool {
		var marks []uint64
		for _, d := range p.traffic {
			marks = append(marks, d.Mark())
		}
		time.Sleep(time.Second)
		for i, d := range p.traffic {
			if c := d.Since(marks[i]); c.Lost > 0 || c.Sent == 0 {
				return false
			}
		}
		return true
	})
}

func (p *script) state(l keychain.LinkID) link.State {
	r, _ := p.view.Record(l)
	return r.State
}

func (p *script) states() []link.State {
	var all []link.State
	for _, l := range p.Links {
		all = append(all, p.state(l))
	}
	return all
}

// settled waits until a link is Steady on epoch or a later one, and no campaign's.
func (p *script) settled(l keychain.LinkID, epoch keychain.Epoch) {
	p.Helper()
	p.until(fmt.Sprintf("%s is Steady on epoch %d or later", l, epoch), func() bool {
		r, _ := p.view.Record(l)
		return r.State.Phase == link.Steady && r.Owner == "" && r.State.To.Epoch >= epoch
	})
}

func (p *script) until(what string, ok func() bool) {
	p.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatalf("waited %v in vain until %s\n%s", patience, what, p.standing())
		}
	}
}

// standing is where the links stand, for a failure.
func (p *script) standing() string {
	var b strings.Builder
	for _, l := range p.Links {
		b.WriteString(p.Stack.Run(p.Context(), "why", string(l)).Out)
		for _, o := range p.view.Reports(l) {
			fmt.Fprintf(&b, "  %s at %d accepts %v sends %v lost %v: %s %s\n", o.Node, o.Turn, o.Accepts, o.Sends, o.Lost, o.Fault, o.Message)
		}
	}
	return b.String()
}
