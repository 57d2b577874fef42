// Package haproxy rotates the keys by which HAProxy seals TLS session tickets
// (RFC 5077; RFC 8446, section 4.6.1): a fleet of HAProxies that share a key resume
// each other's sessions. Every node issues tickets and opens those of the others,
// so a node stands on both sides of its link.
//
// HAProxy holds a ring of three keys. All three open tickets, the one in the middle
// seals new ones, and a key that is pushed into the ring comes last while the first
// drops out. Pushed into a ring of three different keys, a new key lets the one
// pushed before it seal. So the driver keeps copies in the ring, and
//
//   - Install pushes the new key:       old old old → old old NEW
//   - Switch pushes it once more:       old old NEW → old NEW NEW
//   - Remove pushes it a third time:    old NEW NEW → NEW NEW NEW
//
// A push is not idempotent. The ring is read before every push, and what is pushed
// is worked out anew from what was read (see plan). No ring on the way seals with a
// key that neither the ring before nor the order has, and none lacks a key that
// both accept. Where no pushes lead there (an aborted rotation: old old NEW cannot
// be brought to old old old without sealing with NEW for a moment), the driver writes
// the key file and has the master reload HAProxy, which loses no connection.
//
// Everything goes through the master's socket (haproxy -W -S): "@1" is the worker
// that runs now, never one that a reload is about to end. While a reload is under
// way the master does not answer. So a ring that was read is that of the worker in
// charge, and when the key file held the same before it was read, every later
// worker begins with it.
//
// Observe reads the ring of the running HAProxy: "show tls-keys" prints the keys
// with their names, the first 16 of 80 bytes, which stand open in every ticket. A
// name made of epoch and KCV says which key it is. The secrets are printed too, to
// this socket only. There is no other way to learn what a ring accepts: a ticket
// shows the one key in the middle. The driver has held these very keys before, it
// keeps what it read for as long as one call lasts, and it compares, writes to the
// key file and pushes nothing but that. None of it is ever logged or quoted.
//
// The key file follows the ring: before a call says what the ring is, the file has
// it too, so that what was reported survives a restart. A file that differs (a call
// that was broken off, an editor) is written anew from the ring, as long as the ring
// has a key of ours.
package haproxy
