// Package frr rotates the keys of key chains in FRRouting, for OSPFv3 with an
// authentication trailer (RFC 7166): ospf6d of FRR 8.4, operated through vtysh.
//
// A node stands on both sides of its link, since ospf6d sends and checks with the
// same key chain. The link key is never given to FRR: each key-string is derived
// from it. What the operations mean on a key chain:
//
//   - Install adds a key whose send-lifetime has ended in 1993: it is accepted
//     and not sent with.
//   - Switch takes that lifetime off the key and puts it on every other. For a
//     moment two keys may be sent with, never none.
//   - Remove takes the key out of the chain, but never the last one, nor the one
//     that is sent with.
//   - Observe reads the running configuration. Each key-string begins with the
//     public name of its key, so that FRR itself tells which key it has. Which key
//     is sent with follows from FRR's rule: of the keys whose send-lifetime is
//     valid, the one with the lowest number.
//
// vtysh applies a file line by line and goes on after a line that fails. So the
// lines stand in an order of which every beginning is safe, the running
// configuration is read back after every change, and what came out wrong is put
// back. Keys go to vtysh in a file without a name, and to FRR's own configuration
// file, when keys are to survive a restart: first there, then to the daemon, so
// that a crash in between loses nothing.
package frr
