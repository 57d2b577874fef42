package recovery

import (
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Leap is how far the Turn of a rebuilt record is above every Turn that anybody
// knows: further than a workflow that still has the link in its memory, or an order
// that no node has seen, can be ahead. The highest epoch leaps as far when the link
// goes on without a node that was not heard.
const Leap = 100

// Testimony is what one node says of one link: its device, and its journal.
type Testimony struct {
	Node keychain.NodeID
	// Turn is the highest that it has obeyed; zero: it never obeyed anything.
	Turn keychain.Turn
	// Accepts and Sends are what its device shows.
	Accepts []keychain.Ref
	Sends   keychain.Ref
	// Started are the epochs that a counter-bound sender has begun, Lost those that it
	// must not use again.
	Started, Lost []keychain.Epoch
	// Accept and Send are what the last order asked that it took in, which it may not
	// have obeyed yet. Noted says that the journal has that order.
	Noted  bool
	Accept []link.Key
	Send   link.Key
	// Blind is why its device could not be read; empty when it was.
	Blind string
}

// idle reports whether the node has never had a part in the link.
func (t Testimony) idle() bool {
	return t.Turn == 0 && len(t.Accepts) == 0 && t.Sends.IsZero() && len(t.Accept) == 0 && t.Send.IsZero() && len(t.Started) == 0
}

// highest is the highest epoch that t knows of.
func (t Testimony) highest() keychain.Epoch {
	e := max(t.Sends.Epoch, t.Send.Epoch)
	for _, a := range t.Accepts {
		e = max(e, a.Epoch)
	}
	for _, k := range t.Accept {
		e = max(e, k.Epoch)
	}
	for _, list := range [][]keychain.Epoch{t.Started, t.Lost} {
		for _, x := range list {
			e = max(e, x)
		}
	}
	return e
}

// Case is all that is known of one link.
type Case struct {
	Link keychain.LinkID
	// Upstream and Downstream are the nodes that are declared and not excluded.
	Upstream, Downstream []keychain.NodeID
	// Record is what etcd has, with Revision zero when that is nothing.
	Record link.Record
	// Told is the testimonies that came, at most one a node.
	Told []Testimony
	// Supplied are the epochs of which somebody has the wrapped key.
	Supplied []keychain.Epoch
	// Without are the nodes that the operator goes on without.
	Without []keychain.NodeID
	At      time.Time
}

// Outcome is what Rebuild made of a case.
type Outcome string

// The outcomes.
const (
	// Kept is a record that nobody is ahead of, and whose keys are there: it stays as it
	// is.
	Kept Outcome = "kept"
	// Unused is a link that has no record, and of which no node knows anything.
	Unused Outcome = "unused"
	// Rebuilt is a link that is Steady on the key that it uses.
	Rebuilt Outcome = "rebuilt"
	// InFlight is a link that has a second key on its nodes: the next campaign brings it
	// to its end, and nothing is lost until then.
	InFlight Outcome = "in flight"
	// Held is a link about which its nodes disagree, or do not answer. Nothing is written.
	Held Outcome = "held"
)

// Verdict is what is to be done about one link. Record is to be written for Rebuilt
// and InFlight, over its Revision.
type Verdict struct {
	Link    keychain.LinkID
	Outcome Outcome
	Record  link.Record
	// Reason says why it is held, or what is noteworthy of it; Next what to do then.
	Reason, Next string
	// Missing are the nodes that have not answered.
	Missing []keychain.NodeID
}

// Writes reports whether the record of v is to be written.
func (v Verdict) Writes() bool { return v.Outcome == Rebuilt || v.Outcome == InFlight }
