// Package agents serves the nodes of one site: it takes their orders from the
// store, opens the keys with the site's own identity, has the devices obey, reads
// back and reports.
//
// It is level-triggered. On start, on every new order, from time to time and
// after trouble, an order is compared with what the device shows, and what is
// missing is done: first everything is accepted, then the sending key is
// switched, and what the order no longer names is forgotten last. What is
// reported is what the device says, never that a call returned.
//
// When a key is gone from a device, from the agent's memory and from the order, a receipt
// of that is written with the report: see receipts.go.
//
// Every node stands for itself: its right to be served (a Tenure), its orders,
// its work and its reports. One node's trouble never blocks another's.
//
// Before an order is obeyed its Turn is in the journal on disk, and before a
// counter-bound device sends with a new epoch that epoch is in the journal and in
// the store. So a SIGKILL at any moment is safe, and so is the loss of the disk.
//
// There is deliberately no Temporal here, no open port, no decision about a link
// and no key on disk.
package agents
