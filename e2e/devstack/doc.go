// Package devstack runs the three servers that keyorch needs, etcd, Temporal
// and Vault, in this process, for development and tests. They are the real
// servers with real storage: what is written survives a SIGKILL of the process
// and a second [Start] on the same directory finds it again.
//
// Everything listens on 127.0.0.1. etcd and Vault use TLS and ask everybody for a
// certificate, with an authority of the stack's own. Its key, Vault's unseal key and
// the root token lie in the data directory beside what they protect. That is right
// for a laptop and a test, and for nothing else: this package is no part of a
// release.
//
// A data directory holds:
//
//	lock               who uses the directory
//	ports.json         the ports, the same after a restart
//	env, env.*         shell lines for each identity (WriteEnv)
//	tls/               the authority, and the certificate of the servers
//	identity/          a certificate and its key for each identity
//	etcd/              etcd's storage
//	temporal.db        Temporal's SQLite database
//	vault/             Vault's storage, dev-keys.json and dev-tokens.json
//	logs/              one log for each server
package devstack
