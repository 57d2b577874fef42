// Package entitlement says which nodes, and so which identities, could open which link's
// keys, from when to when. It knows nothing but the trail, record after record in the
// order of the chain, so that whoever has an export comes to the same answer.
//
// A node has a key from the moment at which its link began to stage it, and until a
// receipt says that it is gone from its device, from the agent's memory and from its
// order. Nothing else ends it: who was revoked, excluded or taken out of a link opens
// nothing any more, and may still know what it had opened. That is said beside it.
package entitlement
