package custody

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

const (
	dialTime     = 10 * time.Second
	tcpKeepAlive = 30 * time.Second
)

// files are those that a connection to Vault is made with. They are read anew for
// each, so that whoever renews them need not tell anybody.
type files struct {
	identity.Files
	// wallet has the certificate of an identity; nil when it is just one that the
	// listener of Vault asks for.
	wallet *identity.Wallet
}

// openFiles is what cfg names, or else Vault's own environment. Who logs in with a
// certificate has it looked at now.
func openFiles(cfg Config) (f files, err error) {
	f.Files = identity.Files{
		CA:   cmp.Or(cfg.CACert, os.Getenv(api.EnvVaultCACert)),
		Cert: cmp.Or(cfg.ClientCert, os.Getenv(api.EnvVaultClientCert)),
		Key:  cmp.Or(cfg.ClientKey, os.Getenv(api.EnvVaultClientKey)),
	}
	if cfg.Login.Method == identity.ByCertificate {
		f.wallet, err = f.Open("vault")
		return f, err
	}
	return f, f.into(new(tls.Config))
}

// newClient makes a client of Vault for conf whose connections are made with f.
// Kept connections are for many calls at once; others are for one request each,
// which shows Vault the certificate as it is at that moment.
func newClient(conf *api.Config, f files, keep bool) (*api.Client, error) {
	transport, ok := conf.HttpClient.Transport.(*http.Transport)
	if !ok || transport.TLSClientConfig == nil {
		return nil, fault.New(fault.Invalid, "open vault client: the client has no transport of its own")
	}
	// HTTP/1.1 has many connections, and one that is dead costs the calls on it
	// alone. With HTTP/2 all calls share one, also when it hangs after a failover.
	transport.ForceAttemptHTTP2 = false
	transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	transport.TLSClientConfig.NextProtos = nil
	transport.DialTLSContext = f.dialer(transport.TLSClientConfig)
	transport.DisableKeepAlives = !keep
	if keep {
		transport.MaxIdleConnsPerHost, transport.MaxIdleConns = idleConns, idleConns
	}
	client, err := api.NewClient(conf)
	if err != nil {
		return nil, fault.New(fault.Invalid, "open vault client: the client refuses its settings")
	}
	// Each call has a context of its own with the time limit. The client's own
	// limit would end before the answer has been read.
	client.SetClientTimeout(0)
	client.SetMaxRetries(0)
	return client.WithRequestCallbacks(keepBody), nil
}

// keepBody has a request that a standby redirects arrive as it was sent. The client
// encodes the body anew then, from what only its other calls fill in: it would be
// null.
func keepBody(r *api.Request) {
	if r.Obj == nil && r.BodyBytes != nil {
		r.Obj = json.RawMessage(r.BodyBytes)
	}
}

// wrapping is a client like c's own whose answers are wrapped, to be opened once.
func (c *Custody) wrapping(life time.Duration) (*api.Client, error) {
	client, err := c.client.CloneWithHeaders()
	if err != nil {
		return nil, fault.New(fault.Invalid, "open vault client: the client refuses its settings")
	}
	client.SetToken(c.client.Token())
	client.SetWrappingLookupFunc(func(string, string) string { return life.Round(time.Second).String() })
	return client.WithRequestCallbacks(keepBody), nil
}

// dialer connects with the files as they are then.
func (f files) dialer(base *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conf := base.Clone()
		if err := f.into(conf); err != nil {
			return nil, err
		}
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTime, KeepAlive: tcpKeepAlive}, Config: conf}
		return d.DialContext(ctx, network, address)
	}
}

// into puts what the files say into conf. Errors are Invalid and name the file.
func (f files) into(conf *tls.Config) error {
	if f.wallet != nil {
		is := f.wallet.Dial("")
		conf.GetClientCertificate = is.GetClientCertificate
		if f.CA != "" {
			conf.RootCAs = is.RootCAs
		}
		return nil
	}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "read the authorities of vault")
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return fault.New(fault.Invalid, "read the authorities of vault: there is no certificate in %s", f.CA)
		}
	}
	if f.Cert == "" && f.Key == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return fault.New(fault.Invalid, "read the certificate for vault: %s and %s do not hold a certificate and its key", f.Cert, f.Key)
	}
	// Whatever authorities the server asks for: those of the auth method are others.
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return nil
}

// shownAddress checks address and gives it back fit for messages. The address
// itself is not echoed when it is malformed: it may hold a password.
func shownAddress(address string) (string, error) {
	const want = "the vault address is not one: it is like https://vault.example:8200"
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", fault.New(fault.Invalid, want)
	case u.Scheme == "unix" && u.Path != "":
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", fault.New(fault.Invalid, want)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String(), nil
}
