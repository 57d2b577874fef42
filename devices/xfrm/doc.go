// Package xfrm drives static ESP security associations (RFC 4303) of the Linux
// kernel, keyed with AES-GCM (RFC 4106) and with extended sequence numbers, over
// netlink. It takes the place of an IKE daemon for its links; the kernel needs
// nothing else.
//
// A link is one direction of a pair of hosts or gateways. Its sender encrypts what
// goes from its net to the peer's, its receiver decrypts it, and each key of the
// link is one security association (SA) in each of the two kernels:
//
//   - Install adds the inbound SA, and the inbound and forward policies where they
//     are missing: from then on this traffic is accepted under ESP only.
//   - Switch adds the outbound SA, which carries nothing yet, and then points the
//     outbound policy at it. The policy's template names the SPI and the request ID
//     of exactly one SA, so that its update is the switch; a policy that names no
//     SPI would take whichever SA is newest. The SA that was in use stays, with its
//     sequence number, until the next Switch, so that Resume can go back to it.
//   - Remove deletes the inbound SA of one epoch.
//   - Observe dumps what the kernel has: SAs with their packet counts, and the
//     policies that put them to use.
//
// The kernel gives back no name of a key, so the driver writes one into each SA:
// the request ID is the epoch, and the traffic selector of the SA, whose prefixes
// have length 0 so that nothing is compared with them, holds a mark of the link
// and the KCV. Nothing is kept in files, and a reboot loses all of it.
package xfrm
