package evidence

import (
	"fmt"
	"slices"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/entitlement"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// Case is what the records of an evidence file say, in the order in which people ask.
type Case struct {
	Head
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	// Old and New are the keys, and Gone the epoch that the link is rid of.
	Old  keychain.Ref   `json:"old,omitzero"`
	New  keychain.Ref   `json:"new"`
	Gone keychain.Epoch `json:"gone,omitempty"`
	// Asked is what persons asked for, what became of the campaign, and what approvers said.
	Asked []Numbered `json:"asked,omitempty"`
	// Consents are the approvals that stand behind it.
	Consents []Consent `json:"consents,omitempty"`
	// Phases are the entries into phases, with who confirmed the one before.
	Phases []Numbered `json:"phases"`
	// Before and After are the counters of nodes that count, at their first and last
	// confirmation.
	Before []Count `json:"before,omitempty"`
	After  []Count `json:"after,omitempty"`
	// Receipts are those for Gone, and Missing the nodes that have given none.
	Receipts []Numbered     `json:"receipts,omitempty"`
	Missing  []audit.Holder `json:"missing,omitempty"`
	// Trouble is what was refused, denied or put right on the way.
	Trouble []Numbered `json:"trouble,omitempty"`
}

// Count is the counter of one node.
type Count struct {
	Node keychain.NodeID `json:"node"`
	keychain.Counter
}

// Build makes a case of records. Mismatch says what is missing, or does not fit the head.
func Build(h Head, records []Numbered) (Case, error) {
	g := Gather(Wish{Link: h.Link, Turn: h.First})
	for _, n := range records {
		g.Take(n.Seq, n.Record)
	}
	f, err := g.Find()
	if err != nil {
		return Case{Head: h}, fault.Wrap(fault.Mismatch, err, "read the evidence")
	}
	if f.First != h.First || f.Last != h.Last || f.Campaign != h.Campaign {
		return Case{Head: h}, fault.New(fault.Mismatch, "read the evidence: its first line is about turns %d to %d of campaign %q, and its records about turns %d to %d of %q",
			h.First, h.Last, h.Campaign, f.First, f.Last, f.Campaign)
	}
	c := Case{Head: h}
	c.sort(f.Records)
	first, last := c.Phases[0], c.Phases[len(c.Phases)-1]
	c.Old, c.New, c.Gone = first.Entered.From, first.Entered.To, retired(first, last)
	c.Outcome, c.Reason = last.Outcome, last.Reason
	c.consents()
	c.keys()
	c.counts()
	c.missing()
	return c, c.consistent()
}

// sort deals the records out.
func (c *Case) sort(records []Numbered) {
	for _, n := range records {
		if !entitlement.Believed(n.Record) {
			continue
		}
		switch n.Kind {
		case audit.Phase:
			c.Phases = append(c.Phases, n)
		case audit.Receipt:
			c.Receipts = append(c.Receipts, n)
		case audit.Operator, audit.Campaign, audit.Approval:
			c.Asked = append(c.Asked, n)
		case audit.Denial, audit.Refusal, audit.Repair:
			c.Trouble = append(c.Trouble, n)
		case audit.Declaration, audit.Standing, audit.Enrolment, audit.Recovery, audit.Trail:
		}
	}
}

// keys completes the KCVs, which nobody knows when the first phase is entered.
func (c *Case) keys() {
	for _, n := range c.Phases {
		for _, known := range []keychain.Ref{n.Entered.From, n.Entered.To} {
			for _, k := range []*keychain.Ref{&c.Old, &c.New} {
				if k.Epoch == known.Epoch && k.KCV == "" {
					k.KCV = known.KCV
				}
			}
		}
	}
}

// counts takes the counters of every node from its first and its last confirmation.
func (c *Case) counts() {
	before, after := map[keychain.NodeID][]keychain.Counter{}, map[keychain.NodeID][]keychain.Counter{}
	var nodes []keychain.NodeID
	for _, n := range c.Phases {
		for _, said := range n.Entered.Confirmed {
			if len(said.Counters) == 0 {
				continue
			}
			if before[said.Node] == nil {
				before[said.Node], nodes = said.Counters, append(nodes, said.Node)
			}
			after[said.Node] = said.Counters
		}
	}
	slices.Sort(nodes)
	for _, node := range nodes {
		for _, one := range before[node] {
			c.Before = append(c.Before, Count{node, one})
		}
		for _, one := range after[node] {
			c.After = append(c.After, Count{node, one})
		}
	}
}

// missing finds who had the key that is gone and has given no receipt for it.
func (c *Case) missing() {
	if c.Gone == 0 {
		return
	}
	for _, h := range c.holders() {
		if !slices.ContainsFunc(c.Receipts, func(n Numbered) bool { return n.Node == h.Node && n.Epoch == c.Gone }) {
			c.Missing = append(c.Missing, h)
		}
	}
}

// holders are the nodes of the link when the rotation began.
func (c *Case) holders() []audit.Holder {
	return c.Phases[0].Entered.Holders
}

// consistent holds the phases against each other.
func (c *Case) consistent() error {
	wrong := func(n Numbered, format string, a ...any) error {
		return fault.New(fault.Mismatch, "read the evidence: record %d: %s", n.Seq, fmt.Sprintf(format, a...))
	}
	for i, n := range c.Phases {
		if i == 0 || n.Verb == audit.NodesChanged {
			continue
		}
		before := c.Phases[i-1]
		if n.Turn < before.Turn || n.Turn == before.Turn && before.Verb != audit.NodesChanged {
			return wrong(n, "turn %d comes after turn %d", n.Turn, before.Turn)
		}
	}
	for _, one := range c.Consents {
		if err := one.check(); err != nil {
			return err
		}
	}
	return nil
}
