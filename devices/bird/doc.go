// Package bird rotates the keys by which BIRD 2 authenticates OSPFv2 (RFC 2328,
// RFC 5709) and BFD (RFC 5880) on a segment. Every router of a segment sends and
// accepts, so a node stands on both sides of its link.
//
// The driver owns three small files for each link, which the operator includes
// where they belong: LINK.ospf and LINK.bfd are lists of passwords, and LINK.keys
// is one constant that says which keys these are. On this device
//
//   - Install adds a password that is accepted, but generates nothing ("generate
//     from" far in the future);
//   - Switch takes that line from the new password, and gives it to the old one;
//   - Remove drops the password;
//   - Observe asks the daemon, over its control socket, for the constant that it
//     has loaded. Files that the daemon has not read are not reported.
//
// Passwords and constant are read from different files, and somebody else may have
// BIRD read its configuration at any time. So every password refers to a symbol
// that only the LINK.keys of the same set of keys defines: BIRD refuses a mixture,
// and what it shows is what it uses. While the files are being written, LINK.keys
// goes with the old and the new passwords, and claims only what both have.
//
// A change is committed with BIRD's own "configure timeout", watched, and then
// confirmed: a change that costs an adjacency is undone, also when keyorch dies in
// between. A journal beside the files holds the keys before and after a change, so
// that whatever was broken off is taken back by the next call.
package bird
