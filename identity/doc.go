// Package identity says who keyorch's processes and people are, to etcd and to
// Vault alike: one name, which is the common name of a certificate, the user and
// the role in etcd, and the policy and the auth role in Vault.
package identity
