// Package store keeps keyorch's truth in etcd: what the operator declared, one
// record a link, the current order for every node, and what every node last
// reported.
//
//	/keyorch/v1/topology/<kind>/<name>               a declaration, JSON
//	/keyorch/v1/topology-revision                    rises with every apply: what guards the next
//	/keyorch/v1/links/<link>                         the link's record and its wrapped keys
//	/keyorch/v1/orders/<site>/<node>/<link>          the node's order, with the wrapped keys it needs
//	/keyorch/v1/observations/<site>/<node>/<link>    what the node last reported
//	/keyorch/v1/agents/<site>/<node>                 presence on a lease: the lock that lets one agent act
//
// A link's State and the orders that follow from it are written in one
// transaction, guarded by the record's revision. Key bytes never get here: the
// package cannot import secret.
//
// An agent's identity needs to read orders/<site>/, to read and write
// observations/<site>/ and agents/<site>/, and nothing else.
//
// There is deliberately no cache that writers read from: a View is for watching,
// and every write is guarded by what etcd itself holds.
package store
