// Package wireguard rotates the pre-shared key of a WireGuard tunnel, kernel or
// wireguard-go, in stages.
//
// A WireGuard peer has one pre-shared key (PSK) for both directions, so one
// interface cannot accept two. A link therefore has two interfaces, its slots,
// that the operator makes alike: other ports, the same addresses and allowed
// IPs. A key belongs into the slot of its Serial, the even ones into the first
// and the odd ones into the second, so that both ends agree without talking.
//
//   - Install puts the key into its slot and the slot up; no route leads there.
//   - Switch waits for a handshake over the slot, which succeeds only with the
//     same PSK at both ends, and then replaces the routes.
//   - Remove takes the slot down and the key out of it.
//   - Observe reads the slots and the routing table. The alias of a slot names
//     the key and has a fingerprint of the PSK, so that a PSK that somebody
//     changed by hand is not taken for ours.
//
// The PSK is mixed into every handshake (WireGuard, sections 5.2 and 5.4.3); it
// is not used with a counter, so it may be put back after a restart.
package wireguard
