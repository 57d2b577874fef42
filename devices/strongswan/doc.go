// Package strongswan rotates the pre-shared keys of IKEv2 tunnels of strongSwan,
// over the VICI socket of charon. Each link has one of two modes.
//
// In mode ppk (post-quantum pre-shared keys, RFC 8784) the upstream node is the
// initiator of the tunnel, the downstream node its responder. An initiator names
// the PPK that it has mixed into its keys, and the responder looks it up by that
// name, so it accepts as many as it holds. That makes the roles exact:
//
//   - Install loads the PPK at the responder (load-shared). Nothing else changes.
//   - Switch loads the PPK and a connection of its own at the initiator, and
//     initiates it. An IKE SA under the new PPK is established beside the one in
//     use: the traffic moves only once it stands, and when it does not, the one in
//     use was never touched. Then the older one is ended.
//   - Remove unloads the PPK at the responder.
//   - Observe asks charon: at the responder which PPKs it holds (their names,
//     never their bytes), at the initiator which IKE SAs have a CHILD_SA that is
//     installed.
//
// In mode psk (the pre-shared key that authenticates both ends, RFC 7296) both
// nodes stand on both sides. charon verifies with every secret that fits, and signs
// with the one that fits best:
//
//   - Install loads a secret that only verifies while another one fits better, and
//     a connection that answers probes.
//   - Switch probes: an IKE SA without children under identities that belong to
//     this one key, so that it stands only when the peer holds that key too. Then
//     it loads the key again as one that fits best, and unloads the one before.
//   - Remove unloads the secrets of the key.
//   - Observe asks charon for the names of its secrets.
//
// All that this package loads is called keyorch.LINK.eEPOCH-KCV, which says to
// Observe what it is. In mode ppk connections are versioned and never loaded over:
// charon reauthenticates an IKE SA with what it was established under, so each goes
// on with its own PPK.
//
// Deliberately absent: the connection of a responder, and in mode psk that of the
// tunnel, which are the operator's; and manual keying, which strongSwan does not
// have.
package strongswan
