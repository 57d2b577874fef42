// Package netconf drives the key chains of RFC 8177 (module ietf-key-chain) on a
// device that is configured over NETCONF (RFC 6241).
//
// A key chain has a list of keys by key-id, and each key has a lifetime for
// sending and one for accepting:
//
//   - Install adds the key of the new epoch: accepted always, sent from 2037 on,
//     which is never, and yet no number that a 32-bit clock cannot hold.
//   - Switch makes the new key sent always and the old one sent until 2001, in one
//     commit. A node that only sends gets the key with that, accepted never, and
//     the old key goes: nothing else would ever take it away.
//   - Remove deletes the key.
//   - Observe reads the running configuration: which keys are accepted and sent
//     with now, by their lifetimes.
//
// Every lifetime that is written is always or never by years, so that the clocks
// of devices do not matter. This wants the feature
// independent-send-accept-lifetime; a device without it cannot stage.
//
// RFC 8177 lets a device hide its key strings, so which key stands under a key-id
// is written down beside it, in the description of the key chain, in the same
// commit: "keyorch dc1-dc2 3=e3-0f1e2d3c4b 4=e4-a1b2c3d4e5". A key without such an
// entry is a stranger's: it is left alone and never accepted for one of keyorch's.
//
// A change is one edit of the candidate under its lock, committed with a time
// limit, read back, and then confirmed. Whatever fails on the way is taken back by
// the device: an uncommitted edit is discarded and an unconfirmed commit is undone
// when the session ends or the limit passes. Until it is confirmed the description
// says so ("unconfirmed=…"), and Observe does not report what may yet be undone. No
// commit is made to outlive its session (persist, RFC 6241, section 8.4): whoever
// read the running configuration between the end of the session and that of the
// limit would take for granted what is about to go.
package netconf
