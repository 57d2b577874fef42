package store

import (
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// Role is a role in etcd: a name, and what whoever has it may read and write. There
// is nothing else that it may do.
type Role struct {
	Name   string
	Grants []Grant
}

// Grant lets a role use the keys from From up to To, which is not among them; From
// alone when To is empty.
type Grant struct {
	Access   Access
	From, To string
}

// Access is what may be done with keys.
type Access string

// The kinds of access.
const (
	Reads          Access = "reads"
	Writes         Access = "writes"
	ReadsAndWrites Access = "reads and writes"
)

// Roles are those that the people and workers of a kind share, under the prefix that
// Config names; empty means DefaultPrefix.
func Roles(prefix string) []Role {
	var roles []Role
	for _, r := range []identity.Role{identity.Worker, identity.Operator, identity.Auditor} {
		roles = append(roles, role(rootOf(prefix), identity.Identity{Role: r}))
	}
	return roles
}

// RolesOf are the roles of an identity: an agent's own, and for anybody else that of its
// kind, and one of its own with which it writes into its inbox. The administrator has
// etcd's root, which needs no grants. Faults: Invalid.
func RolesOf(prefix string, i identity.Identity) ([]Role, error) {
	if err := i.Valid(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "find the roles of %s", i)
	}
	l := rootOf(prefix)
	roles := []Role{role(l, i)}
	if i.Role != identity.Admin && i.Role != identity.Agent {
		own := Role{Name: ownRole(i), Grants: []Grant{grant(Writes, l.inboxOf(i.CommonName()))}}
		if i.Role == identity.Operator { // what they ask for and sign is theirs by its key
			own.Grants = append(own.Grants, grant(Writes, l.requestsOf(i.CommonName())), grant(Writes, l.votesOf(i.CommonName())))
		}
		roles = append(roles, own)
	}
	return roles, nil
}

// ownRole is the name of the role that an identity shares with nobody. No common name has
// a slash: the role of nobody else is called so.
func ownRole(i identity.Identity) string {
	if i.Role == identity.Agent {
		return i.CommonName()
	}
	return i.CommonName() + "/inbox"
}

func role(l layout, i identity.Identity) Role {
	everything := grant(Reads, l.everything())
	switch i.Role {
	case identity.Worker:
		return Role{Name: string(i.Role), Grants: []Grant{
			everything,
			grant(Writes, l.campaigns()), grant(Writes, l.folder(inDenials)), grant(Writes, l.links()),
			grant(Writes, l.folder(inOrders)), grant(Writes, l.folder(inPast)), grant(Writes, l.folder(inWaves)),
			{Access: Writes, From: l.keks()}, grant(Writes, l.folder(inDuties)),
			{Access: Writes, From: l.rulesInForce()}, {Access: Writes, From: l.policiesInForce()}, grant(Writes, l.ends()),
			{Access: Writes, From: l.head()}, grant(Writes, l.blocks()), grant(Writes, l.checkpoints()),
			grant(Writes, l.inboxes()), grant(Writes, l.outbox()),
		}}
	case identity.Operator:
		return Role{Name: string(i.Role), Grants: []Grant{
			everything,
			grant(Writes, l.exclusions()), grant(Writes, l.allMaintenance()),
			{Access: Writes, From: l.topologyRevision()}, grant(Writes, l.topology()),
		}}
	case identity.Auditor:
		return Role{Name: string(i.Role), Grants: []Grant{everything}}
	case identity.Agent:
		return Role{Name: i.CommonName(), Grants: agentGrants(l, i)}
	case identity.Admin:
	}
	return Role{Name: string(identity.Admin)}
}

// agentGrants are for one site, or for one node of it. Whoever guards a write with
// the revision of a key has to be able to read it: etcd says so.
func agentGrants(l layout, i identity.Identity) []Grant {
	if i.Node == "" {
		return []Grant{
			grant(ReadsAndWrites, l.siteAgents(i.Site)), grant(ReadsAndWrites, l.siteObservations(i.Site)),
			grant(Reads, l.siteOrders(i.Site)), grant(Reads, l.nodesOf(i.Site)), grant(Writes, l.inboxOf(i.CommonName())),
			grant(Reads, l.siteInquiries(i.Site)), grant(Writes, l.siteTestimonies(i.Site)),
		}
	}
	return []Grant{
		{Access: ReadsAndWrites, From: l.agent(i.Site, i.Node)}, grant(ReadsAndWrites, l.observations(i.Site, i.Node)),
		grant(Reads, l.orders(i.Site, i.Node)), {Access: Reads, From: l.node(i.Site, i.Node)}, grant(Writes, l.inboxOf(i.CommonName())),
		grant(Reads, l.inquiries(i.Site, i.Node)), grant(Writes, l.testimonies(i.Site, i.Node)),
	}
}

func grant(a Access, sp span) Grant { return Grant{Access: a, From: sp.from, To: sp.to} }
