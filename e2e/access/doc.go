// Package access proves on a real etcd, with TLS and users, that everybody can do
// what they have to, and that etcd or keyorch denies everything else.
package access
