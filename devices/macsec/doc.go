// Package macsec drives MACsec in the Linux kernel (IEEE 802.1AE-2018) with static
// keys: the kernel encrypts each Ethernet frame of an interface, and every key
// has an association number (AN, two bits in each frame), so that up to four are
// accepted side by side.
//
// A link is one direction of one interface. On the upstream node the interface
// sends; on the downstream one it receives from one peer, a MAC address and a
// port, which together are the SCI that names the sender. The same interface
// serves the link of the other direction as well.
//
//   - Install adds a receive SA for the peer under the AN of the key.
//   - Switch adds a transmit SA under the AN of the key and then makes it the
//     encoding one. The transmit SA before it stays, with its packet number, and
//     Resume can go back to it; older ones are deleted.
//   - Remove turns a receive SA off and deletes it.
//   - Observe reads the SAs back from the kernel. Each carries 16 bytes of key
//     identifier, in which the epoch and the KCV of the key stand.
//
// The key of an SA is derived from the link key for one cipher suite and one
// sender. Two senders of one link therefore never share a nonce, whatever their
// packet numbers are.
//
// A sending key is bound to its packet number, which is lost together with the
// SA. A transmit SA is added once, at packet number 1, and never again: after a
// restart the interface sends nothing until there is a new epoch.
package macsec
