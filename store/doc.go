// Package store keeps keyorch's truth in etcd: what the operator declared, one
// record a link with its history, the current order for every node, what every
// node last reported, the campaigns, and what operators decided for a time.
//
//	/keyorch/v1/agents/<site>/<node>                 presence on a lease: the lock that lets one agent act
//	/keyorch/v1/campaigns/<campaign>                 a campaign's record
//	/keyorch/v1/denials/<campaign>/<link>            a link that the campaign did not begin, and why
//	/keyorch/v1/duties/<duty>                        which worker does what one does at a time, on a lease
//	/keyorch/v1/enrolments/<name>                    which identity has a name, and whether it was revoked
//	/keyorch/v1/exclusions/<node|site>/<name>        who gets no new keys until it is readmitted
//	/keyorch/v1/links/<link>                         the link's record and its wrapped keys
//	/keyorch/v1/maintenance/<site>                   until when nothing is begun at a site
//	/keyorch/v1/observations/<site>/<node>/<link>    what the node last reported
//	/keyorch/v1/orders/<site>/<node>/<link>          the node's order, with the wrapped keys it needs
//	/keyorch/v1/outbox/…                             what notifications have told, and what waits to be sent
//	/keyorch/v1/past/<link>/<turn>                   the link's history, an entry for each Turn
//	/keyorch/v1/topology/<kind>/<name>               a declaration, JSON; not of a node
//	/keyorch/v1/topology/node/<site>/<node>          that of a node
//	/keyorch/v1/topology-revision                    rises with every apply: what guards the next
//	/keyorch/v1/trail/chain/<seq>                    records of the audit trail, compressed
//	/keyorch/v1/trail/checkpoints/<number>           the trail's hash at a record, signed
//	/keyorch/v1/trail/head                           what the next record is appended to
//	/keyorch/v1/trail/inbox/<identity>/<time>        records that wait for the scribe: JSON array
//	/keyorch/v1/waves/<campaign>/<batch>             the links that one workflow of the campaign drives
//
// They are in the order in which etcd has them, which matters: what a View
// follows is one range, from agents up to orders.
//
// A link's State, the orders that follow from it, its entry in the history and what the
// audit trail says of it are written in one transaction, guarded by the record's revision. Key bytes never get here: the
// package cannot import secret.
//
// Everybody is known to etcd by a certificate, and may do what Roles says: an agent
// reads the orders and declarations of the nodes of its site, reads and writes their
// observations and presence, and nothing else.
//
// There is deliberately no cache that writers read from: a View is for watching,
// and every write is guarded by what etcd itself holds.
package store
