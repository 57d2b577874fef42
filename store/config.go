package store

import (
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// Config says where etcd is and how to speak to it.
type Config struct {
	// Endpoints are URLs, or host:port pairs. A URL begins with https://.
	Endpoints []string
	// Files are the certificate of the client, and the authorities of etcd. They are
	// read again for every new connection, so that a renewed certificate needs no
	// restart. The certificate's common name is the user in etcd.
	Files identity.Files
	// Plain speaks to an etcd without TLS, which knows no users: for measuring what
	// TLS costs. Nothing but code sets it.
	Plain bool
	// DialTimeout is how long Open waits for an answer; 5 s if zero.
	DialTimeout time.Duration
	// Prefix is where everything is kept; DefaultPrefix if empty.
	Prefix string
	// LeaseTTL is how long a node stays taken after its agent has died, at least
	// 2 s; 10 s if zero. It is rounded up to whole seconds.
	LeaseTTL time.Duration
	// Observe, if not nil, is told of every exchange with etcd: its kind, one of
	// OpGet, OpTxn and OpLease, how long it took, and nil or the fault that it
	// ended with. A write that lost against its guard is no fault. It is called by
	// many goroutines at once, and must not block. Watches, heartbeats
	// and what its caller cancelled are not told.
	Observe func(op string, took time.Duration, err error)
}

// The kinds of exchanges that Config.Observe is told of.
const (
	OpGet   = "get"   // reading keys, or a range of them
	OpTxn   = "txn"   // writing under guards
	OpLease = "lease" // taking a lease
)

const (
	defaultDialTimeout = 5 * time.Second
	defaultLeaseTTL    = 10 * time.Second
	minLeaseTTL        = 2 * time.Second
)

// EnvConfig is the Config that etcdctl's own variables describe:
// ETCDCTL_ENDPOINTS (separated by commas), ETCDCTL_CACERT, ETCDCTL_CERT and
// ETCDCTL_KEY. Without ETCDCTL_ENDPOINTS, Open answers Invalid and says so.
func EnvConfig(getenv func(string) string) Config {
	c := Config{Files: identity.Files{CA: getenv("ETCDCTL_CACERT"), Cert: getenv("ETCDCTL_CERT"), Key: getenv("ETCDCTL_KEY")}}
	for e := range strings.SplitSeq(getenv("ETCDCTL_ENDPOINTS"), ",") {
		if e = strings.TrimSpace(e); e != "" {
			c.Endpoints = append(c.Endpoints, e)
		}
	}
	return c
}

// complete fills in the defaults.
func (c Config) complete() (Config, error) {
	if len(c.Endpoints) == 0 {
		return c, fault.New(fault.Invalid, "open etcd: no address is given: set ETCDCTL_ENDPOINTS")
	}
	if err := c.check(); err != nil {
		return c, err
	}
	if c.DialTimeout <= 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.LeaseTTL <= 0 {
		c.LeaseTTL = defaultLeaseTTL
	}
	c.LeaseTTL = max(c.LeaseTTL, minLeaseTTL)
	c.Prefix = rootOf(c.Prefix).root
	return c, nil
}

// check refuses what is not encrypted, or shows no certificate. Errors are Invalid.
func (c Config) check() error {
	if c.Plain {
		return nil
	}
	for _, e := range c.Endpoints {
		if scheme, _, ok := strings.Cut(e, "://"); ok && scheme != "https" {
			return fault.New(fault.Invalid, "open etcd: %s is not encrypted: give an address like https://host:2379 (ETCDCTL_ENDPOINTS)", e)
		}
	}
	if c.Files.Cert == "" || c.Files.Key == "" {
		return fault.New(fault.Invalid, "open etcd: no client certificate is given: set ETCDCTL_CERT and ETCDCTL_KEY (and ETCDCTL_CACERT), or run keyorch join")
	}
	return nil
}
