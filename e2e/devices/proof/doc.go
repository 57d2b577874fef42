// Package proof is the one script by which every kind of device proves itself: a
// real etcd, Temporal and Vault, the keyorch program as a worker, as agents and as
// the operator, real daemons or kernels, and traffic in both directions whose
// packets are counted where they arrive. What differs from kind to kind is a
// Device.
//
// A proof that cannot fail proves nothing. So the script ends with a wrong order,
// the sender on a key that the receiver does not have, and wants to see packets
// lost.
package proof
