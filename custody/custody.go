// Package custody keeps link keys in the care of Vault Transit: it has them
// minted already wrapped, and opens them at the site that they were minted for.
//
// Each site, and each two sites that share a link, have a key-encryption key (KEK)
// of their own; a link whose nodes stand in more sites has one of its own as well.
// KEKs are derived, with link and epoch as the context, so that a wrapped key opens only
// as the key that it was minted for. The worker's policy allows minting and
// nothing else: it cannot read a link key, and neither can anyone who reads etcd
// or Temporal.
//
// There is deliberately no call that mints a key in the clear, none that stores
// one, and no retry: callers know better when to come again.
package custody

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/fault"
)

// The requests that a Config.Observe is told of most.
const (
	OpMint   = "mint"
	OpUnwrap = "unwrap"
)

const (
	defaultMount   = "transit"
	defaultTimeout = 15 * time.Second
	// idleConns is how many connections to Vault stay open between calls: a batch
	// of links is minted, and a site's keys are opened, with many calls at once.
	idleConns = 64
)

// Config says how to reach Vault. A zero field takes what Vault's own client
// takes: VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE, VAULT_CACERT and the rest of
// its environment.
type Config struct {
	Address   string
	Token     string
	Namespace string
	// Login says how to get a token and to keep one; the zero Login uses Token.
	Login Login
	// CACert is the file of the authorities of Vault, and ClientCert and ClientKey are
	// those of the certificate that it is shown. All are read anew for each connection.
	CACert, ClientCert, ClientKey string
	// Mount is the path of the Transit engine; "transit" when empty.
	Mount string
	// Observe is told of every request to Vault once it has ended: OpMint,
	// OpUnwrap (one request, of one key or of many) or another short word, how long
	// it took, and its error. Nil: nobody is. It is called from many goroutines.
	Observe func(op string, took time.Duration, err error)
	// Logger gets what becomes of the login; nil: nobody does.
	Logger *slog.Logger
}

// Custody mints and opens link keys. It is safe for concurrent use.
type Custody struct {
	client  *api.Client
	session *session
	mount   string
	address string // as shown to people: without a user or a password
	timeout time.Duration
	observe func(op string, took time.Duration, err error)

	mu     sync.Mutex
	queues map[string]*queue // by KEK
}

// Open prepares a client of Vault and does not use the network. Errors are
// Invalid: a malformed address, a login that cannot be, or an environment that the
// client cannot use.
func Open(cfg Config) (*Custody, error) {
	c := &Custody{mount: mounted(cfg.Mount), timeout: defaultTimeout, observe: cfg.Observe, queues: make(map[string]*queue)}
	if c.observe == nil {
		c.observe = func(string, time.Duration, error) {}
	}
	if err := cfg.Login.check(cfg); err != nil {
		return nil, err
	}
	f, err := openFiles(cfg)
	if err != nil {
		return nil, err
	}
	if c.client, err = c.newClient(cfg, f, true); err != nil {
		return nil, err
	}
	fresh, err := c.newClient(cfg, f, false)
	if err != nil {
		return nil, err
	}
	if !cfg.Login.byToken() {
		c.client.ClearToken() // VAULT_TOKEN is somebody else's then
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c.session = newSession(c.client, fresh, f, cfg.Login, log)
	return c, nil
}

// newClient makes a client as cfg and the environment say.
func (c *Custody) newClient(cfg Config, f files, keep bool) (*api.Client, error) {
	conf := api.DefaultConfig()
	if conf.Error != nil {
		return nil, fault.Wrap(fault.Invalid, conf.Error, "read the Vault settings of the environment")
	}
	if cfg.Address != "" {
		conf.Address, conf.AgentAddress = cfg.Address, ""
	}
	if os.Getenv(api.EnvVaultClientTimeout) != "" {
		c.timeout = conf.Timeout
	}
	var err error
	if c.address, err = shownAddress(cmp.Or(conf.AgentAddress, conf.Address)); err != nil {
		return nil, err
	}
	client, err := newClient(conf, f, keep)
	if err != nil {
		return nil, err
	}
	if cfg.Token != "" {
		client.SetToken(cfg.Token)
	}
	if cfg.Namespace != "" {
		client.SetNamespace(cfg.Namespace)
	}
	return client, nil
}

// mounted is the path of the Transit engine without slashes at its ends.
func mounted(mount string) string {
	if mount = strings.Trim(mount, "/"); mount == "" {
		return defaultMount
	}
	return mount
}

// Address is where Vault is, as shown to people.
func (c *Custody) Address() string { return c.address }

// Health is what Vault says of itself.
type Health struct {
	Version string
	Standby bool
	Time    time.Time // by its own clock, to the second
}

// Ping is Health for its errors alone.
func (c *Custody) Ping(ctx context.Context) error {
	_, err := c.Health(ctx)
	return err
}

// Health asks Vault for its health. It is Unavailable, naming the address, when
// Vault is away, sealed or not initialised. A standby node is well: it forwards
// requests to the active one, or sends the client there.
func (c *Custody) Health(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	health, err := c.client.Sys().HealthWithContext(ctx)
	switch {
	case err != nil:
		if _, ok := status(err); ok {
			return Health{}, fault.New(fault.Unavailable, "reach vault at %s: it does not report its health", c.address)
		}
		return Health{}, c.away(ctx, err)
	case !health.Initialized:
		return Health{}, fault.New(fault.Unavailable, "reach vault at %s: it is not initialised", c.address)
	case health.Sealed:
		return Health{}, fault.New(fault.Unavailable, "reach vault at %s: it is sealed", c.address)
	case health.ReplicationDRMode == "secondary":
		return Health{}, fault.New(fault.Unavailable, "reach vault at %s: it is a secondary for disasters, which answers nobody: use the primary", c.address)
	}
	return Health{Version: health.Version, Standby: health.Standby, Time: time.Unix(health.ServerTimeUTC, 0)}, nil
}

// WritePolicy creates or replaces the ACL policy name.
func (c *Custody) WritePolicy(ctx context.Context, name, hcl string) error {
	if !policyName(name) {
		return fault.New(fault.Invalid, "write vault policy: the name is not one of keyorch's")
	}
	return c.write(ctx, call{op: "write-policy", path: "sys/policies/acl/" + name, what: "writing policy " + name},
		map[string]any{"policy": hcl}, nil)
}

// write sends in and reads the data of the answer into out, unless that is nil.
func (c *Custody) write(ctx context.Context, what call, in map[string]any, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fault.New(fault.Invalid, "%s: the request does not encode", what.what)
	}
	return c.do(ctx, what, out, func(ctx context.Context) (*api.Response, error) {
		return c.client.Logical().WriteRawWithContext(ctx, what.path, body)
	})
}

// read reads the data at a path into out.
func (c *Custody) read(ctx context.Context, what call, out any) error {
	return c.do(ctx, what, out, func(ctx context.Context) (*api.Response, error) {
		return c.client.Logical().ReadRawWithContext(ctx, what.path)
	})
}
