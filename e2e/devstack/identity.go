package devstack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// The identities that Env and WriteEnv know, beside those of the agents, which
// are AgentIdentity(site), and of operators with a name, PersonIdentity(name).
const (
	Root     = "root"
	Operator = "operator"
	Worker   = "worker"
	Auditor  = "auditor"
)

const (
	agentIdentity  = "agent."
	personIdentity = Operator + "."
	dialTimeout    = 5 * time.Second
)

// AgentIdentity is the identity of the agents of site.
func AgentIdentity(site keychain.SiteID) string { return agentIdentity + string(site) }

// PersonIdentity is the identity of the operator who is called name.
func PersonIdentity(name string) string { return personIdentity + name }

// identityOf is who a name of an environment is to etcd and Vault. An unknown one
// is Invalid.
func identityOf(name string) (identity.Identity, error) {
	switch name {
	case Root:
		return identity.Identity{Role: identity.Admin}, nil
	case Operator:
		return identity.Identity{Role: identity.Operator}, nil
	case Worker:
		return identity.Identity{Role: identity.Worker}, nil
	case Auditor:
		return identity.Identity{Role: identity.Auditor}, nil
	}
	if person, ok := strings.CutPrefix(name, personIdentity); ok {
		who := identity.Identity{Role: identity.Operator, Person: person}
		return who, who.Valid()
	}
	site, ok := strings.CutPrefix(name, agentIdentity)
	if !ok {
		return identity.Identity{}, fault.New(fault.Invalid, "no identity %q: there are %s, %s, %s, %s and %sSITE",
			name, Root, Operator, Worker, Auditor, agentIdentity)
	}
	agent := identity.OfSite(keychain.SiteID(site))
	return agent, agent.Valid()
}

// directory is where the certificate of an identity is.
func (s *Stack) directory(who identity.Identity) identity.Directory {
	return identity.Directory(filepath.Join(s.Data, "identity", who.CommonName()))
}

// EtcdAs is how an identity opens the store.
func (s *Stack) EtcdAs(ctx context.Context, name string) (store.Config, error) {
	who, err := s.known(ctx, name)
	return s.etcdWith(who), err
}

func (s *Stack) etcdWith(who identity.Identity) store.Config {
	c := store.Config{Endpoints: []string{s.EtcdEndpoint}, Plain: s.plain}
	if !s.plain {
		c.Files = s.directory(who).Files()
	}
	return c
}

// VaultAs is how an identity opens its custody: operators have a token, which goes
// with them to other clients of Vault, and the others log in with their certificate.
func (s *Stack) VaultAs(ctx context.Context, name string) (custody.Config, error) {
	who, err := s.known(ctx, name)
	if err != nil {
		return custody.Config{}, err
	}
	c := custody.Config{Address: s.VaultAddress, CACert: s.caFile()}
	switch {
	case who.Role == identity.Admin:
		c.Token = s.RootToken
	case who.Role == identity.Operator, s.plain:
		c.Token, err = s.tokens.of(ctx, who)
	default:
		c.ClientCert, c.ClientKey = s.directory(who).Cert(), s.directory(who).Key()
		c.Login = custody.Login{Method: identity.ByCertificate, Role: who.CommonName()}
	}
	return c, err
}

// known is the identity of a name, which is enrolled when it is not yet.
func (s *Stack) known(ctx context.Context, name string) (identity.Identity, error) {
	who, err := identityOf(name)
	if err != nil {
		return who, err
	}
	return who, s.enrol(ctx, who)
}

// caFile is what clients check the servers against; empty when they are plain.
func (s *Stack) caFile() string {
	if s.plain {
		return ""
	}
	return s.authority.certFile()
}

// EtcdClient is etcd's own client as an identity, for what the store does not offer.
func (s *Stack) EtcdClient(ctx context.Context, name string) (*clientv3.Client, error) {
	as, err := s.EtcdAs(ctx, name)
	if err != nil {
		return nil, err
	}
	c := clientv3.Config{Context: ctx, Endpoints: as.Endpoints, DialTimeout: dialTimeout}
	if !s.plain {
		info := transport.TLSInfo{CertFile: as.Files.Cert, KeyFile: as.Files.Key, TrustedCAFile: as.Files.CA}
		if c.TLS, err = info.ClientConfig(); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "open etcd client as %s", name)
		}
	}
	client, err := clientv3.New(c)
	return client, fault.Wrap(fault.Unavailable, err, "open etcd client as %s", name)
}

// Certificates are what a server of this stack shows, and whom its clients trust, for
// tests that put something in between.
func (s *Stack) Certificates() (tls.Certificate, *x509.CertPool, error) {
	pair, err := tls.LoadX509KeyPair(s.authority.file("server.crt"), s.authority.file("server.key"))
	return pair, s.authority.pool(), fault.Wrap(fault.Invalid, err, "read the certificate of the servers")
}
