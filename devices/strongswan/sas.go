package strongswan

import (
	"strconv"

	"github.com/strongswan/govici/vici"

	"github.com/keyorch/keyorch/keychain"
)

// ikeSA is an IKE SA that was made from a connection of ours.
type ikeSA struct {
	ref      keychain.Ref
	id       string // charon's number of it
	ending   bool
	children []childSA
}

// childSA is one CHILD_SA of an IKE SA.
type childSA struct {
	name      string
	id        string // charon's number of it; later ones have higher ones
	installed bool   // it carries traffic
}

// associations asks for the IKE SAs of link. Errors: Unavailable.
func (t *talk) associations(link keychain.LinkID) (associations, error) {
	events, err := t.read("SAs", "list-sas", "list-sa", nil)
	if err != nil {
		return nil, err
	}
	var all associations
	for _, event := range events {
		all = append(all, parseSAs(link, event)...)
	}
	return all, nil
}

// parseSAs reads one list-sa event. What is not of this link is left out.
func parseSAs(link keychain.LinkID, event *vici.Message) (found associations) {
	if event == nil {
		return nil
	}
	for _, name := range event.Keys() {
		sa, ok := event.Get(name).(*vici.Message)
		ref, ours := parseName(link, name)
		if !ok || !ours {
			continue
		}
		one := parseSA(sa)
		one.ref = ref
		found = append(found, one)
	}
	return found
}

// parseSA reads one IKE SA, which does not say its key itself.
func parseSA(sa *vici.Message) ikeSA {
	one := ikeSA{id: text(sa, "uniqueid"), ending: ends(text(sa, "state"))}
	children, ok := sa.Get("child-sas").(*vici.Message)
	if !ok {
		return one
	}
	for _, key := range children.Keys() {
		if child, ok := children.Get(key).(*vici.Message); ok {
			one.children = append(one.children, childSA{
				name: text(child, "name"), id: text(child, "uniqueid"), installed: carries(text(child, "state")),
			})
		}
	}
	return one
}

// ends reports whether an IKE SA in this state is on its way out.
func ends(state string) bool { return state == "DELETING" || state == "DESTROYING" }

// carries reports whether a CHILD_SA in this state protects traffic. One that was
// rekeyed has a successor.
func carries(state string) bool {
	return state == "INSTALLED" || state == "UPDATING" || state == "REKEYING"
}

// associations are the IKE SAs of one link.
type associations []ikeSA

// up lists the keys under which there are CHILD_SAs that carry traffic.
func (all associations) up() map[keychain.Ref]bool {
	keys := make(map[keychain.Ref]bool)
	for _, sa := range all {
		for _, c := range sa.children {
			if c.installed && !sa.ending {
				keys[sa.ref] = true
			}
		}
	}
	return keys
}

// youngest is the installed CHILD_SA of this name that was made last, and the key
// that it is under: of those that match a packet, the youngest carries it. The
// zero childSA says that there is none.
func (all associations) youngest(name string) (keychain.Ref, childSA) {
	var ref keychain.Ref
	var found childSA
	for _, sa := range all {
		for _, c := range sa.children {
			if c.installed && !sa.ending && c.name == name && number(c.id) > number(found.id) {
				ref, found = sa.ref, c
			}
		}
	}
	return ref, found
}

// lead reports whether all traffic leaves under ref: for every child the youngest
// is under it.
func (all associations) lead(ref keychain.Ref, children []string) bool {
	for _, name := range children {
		if got, child := all.youngest(name); child.id == "" || got != ref {
			return false
		}
	}
	return true
}

// surplus is what is to be ended once ref leads: IKE SAs under another key, and
// what an attempt that was repeated has made twice.
func (all associations) surplus(ref keychain.Ref) (ikeIDs, childIDs []string) {
	for _, sa := range all {
		if sa.ref != ref {
			ikeIDs = append(ikeIDs, sa.id)
			continue
		}
		for _, c := range sa.children {
			if _, last := all.youngest(c.name); c.installed && c.id != last.id {
				childIDs = append(childIDs, c.id)
			}
		}
	}
	return ikeIDs, childIDs
}

// number reads charon's number of an SA; it begins to count at one.
func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}
