package agents

import (
	"sync"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// How often Run shows that it turns, and after how long without it counts as
// stuck. Nothing that Run does by itself waits, so that this is ample.
const (
	beatEvery = 5 * time.Second
	stuckTime = time.Minute
)

// Pulse says how an agent does, for whoever supervises its process. Neither
// answer depends on Vault or on devices: a restart mends none of them, and an
// agent that is restarted while Vault is away cannot open the keys that it has
// open now. It is safe for concurrent use, and ready as its zero value.
type Pulse struct {
	mu    sync.Mutex
	began bool
	beat  time.Time
	known bool // that there is a list of nodes, which may be empty
	asked map[keychain.NodeID]time.Time
	holds map[keychain.NodeID]bool
}

// Live is Unavailable when the loop of Run has not turned for a minute, which a
// restart may mend. Before Run begins and after it nothing is wrong.
func (p *Pulse) Live() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if still := time.Since(p.beat); p.began && still > stuckTime {
		return fault.New(fault.Unavailable, "the agent's loop has stood still for %s", still.Round(time.Second))
	}
	return nil
}

// Ready is nil once the agent knows its nodes and acts on each of them or waits
// for the one that does. A node that nobody serves is given at once, so what takes
// longer is another agent's.
func (p *Pulse) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return fault.New(fault.Unavailable, "the nodes to serve have not been read from etcd yet")
	}
	for node, since := range p.asked {
		if !p.holds[node] && time.Since(since) < soon {
			return fault.New(fault.Unavailable, "the right to serve a node has just been asked for")
		}
	}
	return nil
}

// The functions below take note of what Run does. A nil Pulse takes none.

func (p *Pulse) turn(on bool) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.beat = on, time.Now()
}

// serves takes note of the whole list of nodes.
func (p *Pulse) serves(nodes []Node) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, holds := make(map[keychain.NodeID]time.Time), make(map[keychain.NodeID]bool)
	for _, n := range nodes {
		asked[n.ID], holds[n.ID] = time.Now(), p.holds[n.ID]
		if before, ok := p.asked[n.ID]; ok {
			asked[n.ID] = before
		}
	}
	p.known, p.asked, p.holds = true, asked, holds
}

// acts takes note of whether the agent has the right to act on a node. Whoever
// loses it goes on asking, and has been asking for long enough.
func (p *Pulse) acts(node keychain.NodeID, holds bool) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, listed := p.asked[node]; listed {
		p.holds[node] = holds
	}
}
