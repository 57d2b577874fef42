package entitlement

import (
	"cmp"
	"slices"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Ledger takes the records of a trail in their order. The zero Ledger has taken none. It
// grows with the keys that were given, not with the records.
type Ledger struct {
	links  map[keychain.LinkID]*line
	all    []*Holding
	open   map[place]*Holding // without a receipt
	closed map[place]bool
	access []*enrolled
}

// line is what is known of one link.
type line struct{ holders []audit.Holder }

// place is what a holding is of.
type place struct {
	link  keychain.LinkID
	epoch keychain.Epoch
	audit.Holder
}

// subject is a site, or a node.
type subject struct {
	site keychain.SiteID
	node keychain.NodeID
}

// enrolled is an identity of agents while it stood.
type enrolled struct {
	subject
	Access
}

// Take takes the next record. What somebody wrote who may not say such a thing counts for
// nothing: a phase is a worker's to tell, a receipt that of an agent of the node.
func (l *Ledger) Take(r audit.Record) {
	if l.links == nil {
		l.links, l.open, l.closed = make(map[keychain.LinkID]*line), make(map[place]*Holding), make(map[place]bool)
	}
	if !Believed(r) {
		return
	}
	switch r.Kind {
	case audit.Phase:
		l.phase(r)
	case audit.Receipt:
		l.receipt(r)
	case audit.Enrolment:
		l.enrolment(r)
	case audit.Standing:
		l.standing(r)
	case audit.Operator, audit.Campaign, audit.Denial, audit.Declaration, audit.Refusal, audit.Repair, audit.Approval, audit.Recovery, audit.Trail:
	}
}

// Believed holds who wrote a record against what it says. Where nobody has a name (an etcd
// without TLS, for measuring), everybody may.
func Believed(r audit.Record) bool {
	who, err := identity.ParseCommonName(r.By)
	if err != nil {
		return r.By == nameless
	}
	switch r.Kind {
	case audit.Phase:
		return who.Role == identity.Worker || who.Role == identity.Admin
	case audit.Receipt:
		return who.Role == identity.Agent && who.Site == r.Site && (who.Node == "" || who.Node == r.Node)
	case audit.Enrolment:
		return who.Role == identity.Admin
	case audit.Standing:
		return who.Role == identity.Operator || who.Role == identity.Admin
	}
	return true
}

// nameless is who writes where nobody has a name.
const nameless = "nobody"

// phase is a link's entry into a phase, or its nodes becoming others.
func (l *Ledger) phase(r audit.Record) {
	e := r.Entered
	if e == nil {
		return
	}
	at := l.links[r.Link]
	first := at == nil
	if first {
		at = &line{}
		l.links[r.Link] = at
	}
	before := at.holders
	if e.Holders != nil {
		at.holders = e.Holders
		l.leave(r, before, e.Holders)
	}
	began := r.At
	if first { // it had its keys before anybody wrote it down
		began = time.Time{}
	}
	staging, steady := r.Verb == link.Staging.String(), r.Verb == link.Steady.String()
	for _, h := range at.holders {
		joins := !slices.Contains(before, h)
		switch {
		case staging && joins:
			l.give(r.Link, h, e.From, began)
			l.give(r.Link, h, e.To, r.At)
		case joins:
			l.give(r.Link, h, e.To, began)
		case staging, r.Verb == link.Switching.String():
			// Going back gives a sender again what it had given up.
			l.give(r.Link, h, e.To, r.At)
		}
	}
	l.learn(r.Link, e)
	if steady {
		l.retire(r.Link, e.To.Epoch, r.At)
	}
}

func (l *Ledger) give(id keychain.LinkID, h audit.Holder, key keychain.Ref, at time.Time) {
	p := place{id, key.Epoch, h}
	if key.IsZero() || l.open[p] != nil {
		return
	}
	held := &Holding{Link: id, Epoch: key.Epoch, KCV: key.KCV, Node: h.Node, Site: h.Site, From: at}
	l.all, l.open[p] = append(l.all, held), held
}

// leave marks what nodes have that are no part of the link any more.
func (l *Ledger) leave(r audit.Record, before, now []audit.Holder) {
	for p, h := range l.open {
		if p.link != r.Link || !slices.Contains(before, p.Holder) {
			continue
		}
		if slices.Contains(now, p.Holder) {
			h.Left = time.Time{} // it is back
		} else {
			h.Left = r.At
		}
	}
}

// learn completes KCVs.
func (l *Ledger) learn(id keychain.LinkID, e *audit.Entered) {
	known := []keychain.Ref{e.From, e.To}
	for _, c := range e.Confirmed {
		known = append(known, c.Key)
	}
	for p, h := range l.open {
		for _, k := range known {
			if p.link == id && p.epoch == k.Epoch {
				h.KCV = cmp.Or(h.KCV, k.KCV)
			}
		}
	}
}

// retire marks every key of a link but the one that it is on.
func (l *Ledger) retire(id keychain.LinkID, on keychain.Epoch, at time.Time) {
	for p, h := range l.open {
		if p.link == id && p.epoch != on && h.Retired.IsZero() {
			h.Retired = at
		}
	}
}

// receipt ends a holding. One that comes again says nothing new.
func (l *Ledger) receipt(r audit.Record) {
	p := place{r.Link, r.Epoch, audit.Holder{Node: r.Node, Site: r.Site}}
	h := l.open[p]
	switch {
	case h == nil && l.closed[p]:
		return
	case h == nil:
		h = &Holding{Link: r.Link, Epoch: r.Epoch, Node: r.Node, Site: r.Site}
		l.all = append(l.all, h)
	}
	h.KCV, h.Until = cmp.Or(h.KCV, r.KCV), r.At
	delete(l.open, p)
	l.closed[p] = true
}

func (l *Ledger) enrolment(r audit.Record) {
	name := r.Details["identity"]
	last := slices.IndexFunc(l.access, func(e *enrolled) bool { return e.Identity == name && e.Revoked.IsZero() })
	switch {
	case r.Site == "":
	case r.Verb == audit.Enrolled && last < 0:
		l.access = append(l.access, &enrolled{subject{r.Site, r.Node}, Access{Identity: name, From: r.At}})
	case r.Verb == audit.Revoked && last < 0:
		l.access = append(l.access, &enrolled{subject{r.Site, r.Node}, Access{Identity: name, Revoked: r.At}})
	case r.Verb == audit.Revoked:
		l.access[last].Revoked = r.At
	}
}

// standing is an exclusion or its end.
func (l *Ledger) standing(r audit.Record) {
	var at time.Time
	switch r.Verb {
	case audit.Excluded:
		at = r.At
	case audit.ReadmittedAgain:
	default:
		return
	}
	for p, h := range l.open {
		if p.Site == r.Site || r.Node != "" && p.Node == r.Node {
			h.Excluded = at
		}
	}
}

// Holdings is all that was given, sorted by link, epoch and node.
func (l *Ledger) Holdings() []Holding {
	out := make([]Holding, 0, len(l.all))
	for _, h := range l.all {
		full := *h
		for _, e := range l.access {
			if e.site == h.Site && (e.node == "" || e.node == h.Node) && e.overlaps(*h) {
				full.Identities = append(full.Identities, e.Access)
			}
		}
		out = append(out, full)
	}
	slices.SortStableFunc(out, func(a, b Holding) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Node, b.Node), a.From.Compare(b.From))
	})
	return out
}

// overlaps reports whether the identity stood at some time at which h did.
func (a Access) overlaps(h Holding) bool {
	return (h.Until.IsZero() || a.From.Before(h.Until)) && (a.Revoked.IsZero() || a.Revoked.After(h.From))
}
