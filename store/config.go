package store

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Config says where etcd is and how to speak to it.
type Config struct {
	// Endpoints are URLs, or host:port pairs.
	Endpoints []string
	// CACert, Cert and Key are PEM files. CACert empty means the system's own
	// authorities; Cert and Key go together, and are read again for every new
	// connection, so that a renewed certificate needs no restart.
	CACert, Cert, Key string
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
	c := Config{CACert: getenv("ETCDCTL_CACERT"), Cert: getenv("ETCDCTL_CERT"), Key: getenv("ETCDCTL_KEY")}
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
	if c.DialTimeout <= 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.LeaseTTL <= 0 {
		c.LeaseTTL = defaultLeaseTTL
	}
	c.LeaseTTL = max(c.LeaseTTL, minLeaseTTL)
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	c.Prefix = "/" + strings.Trim(c.Prefix, "/")
	return c, nil
}

// tls is nil when the Config names no file and no endpoint wants TLS. Every
// error is Invalid and names the file.
func (c Config) tls() (*tls.Config, error) {
	secure := c.CACert != "" || c.Cert != "" || c.Key != ""
	for _, e := range c.Endpoints {
		secure = secure || strings.HasPrefix(e, "https://")
	}
	if !secure {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CACert != "" {
		pem, err := os.ReadFile(c.CACert)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "read etcd's CA certificate")
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "read etcd's CA certificate: %s holds no PEM certificate", c.CACert)
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, fault.New(fault.Invalid, "read the etcd client certificate: ETCDCTL_CERT and ETCDCTL_KEY go together")
	}
	if c.Cert != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			return &pair, err
		}
		if _, err := load(nil); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "read the etcd client certificate %s and its key", c.Cert)
		}
		conf.GetClientCertificate = load
	}
	return conf, nil
}
