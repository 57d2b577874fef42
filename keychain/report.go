package keychain

import "time"

// Report is the last word of one node about one link: the Turn it obeyed, and
// what its device then said. An upstream node has no Accepts, a downstream node
// no Sends; a node on both sides has both.
type Report struct {
	Node    NodeID  `json:"node"`
	Turn    Turn    `json:"turn"`
	Accepts []Ref   `json:"accepts,omitempty"`
	Sends   Ref     `json:"sends,omitzero"`
	Lost    []Epoch `json:"lost,omitempty"`
	// Fault is the kind of what went wrong (package fault) and Message the
	// device's own words; both are empty when the order was obeyed in full.
	Fault   string    `json:"fault,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"` // when this fault began
	At      time.Time `json:"at,omitzero"`
	// Counters counts packets by epoch, where the device can.
	Counters []Counter `json:"counters,omitempty"`
	// Repaired is what the agent found other than ordered and put right by itself,
	// newest last, at most MaxRepairs.
	Repaired []Repair `json:"repaired,omitempty"`
}

// MaxRepairs is how many repairs a report names.
const MaxRepairs = 4

// Repair is a device that was found to differ from an order that it had obeyed,
// and was put right: it restarted, say, or somebody else changed it.
type Repair struct {
	What  string    `json:"what"` // "epoch 4 was missing"
	At    time.Time `json:"at"`   // when it was last put right
	Count int       `json:"count"`
}

// Counter is how many packets a device has seen under one epoch: sent by an
// upstream device, accepted by a downstream one.
type Counter struct {
	Epoch   Epoch  `json:"epoch"`
	Packets uint64 `json:"packets"`
}

// Accepted is what the node says it accepts under epoch e, or zero.
func (r Report) Accepted(e Epoch) Ref {
	for _, a := range r.Accepts {
		if a.Epoch == e && e != 0 {
			return a
		}
	}
	return Ref{}
}
