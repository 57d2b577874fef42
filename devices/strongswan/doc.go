// Package strongswan rotates the post-quantum pre-shared keys (PPK, RFC 8784) of
// IKEv2 tunnels of strongSwan, over the VICI socket of charon.
//
// The upstream node is the initiator of the tunnel, the downstream node its
// responder. An initiator names the PPK that it has mixed into its keys, and the
// responder looks it up by that name, so it accepts as many as it holds. That
// makes the roles exact:
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
// All that this package loads is called keyorch.LINK.eEPOCH-KCV, which says to
// Observe what it is. Connections are versioned and never loaded over: charon
// reauthenticates an IKE SA with what it was established under, so each goes on
// with its own PPK.
//
// Deliberately absent: the connection of the responder, which is the operator's,
// and manual keying, which strongSwan does not have.
package strongswan
