package wiring

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keyorch/keyorch/fault"
)

// lookTime is how long looking into a failed connection may take.
const lookTime = 2 * time.Second

// unanswered says why there is no connection, in words that tell what to do. What the
// server said is looked at, and not repeated.
func (t Temporal) unanswered(ctx context.Context, o client.Options, err error) error {
	var missing *serviceerror.NamespaceNotFound
	var denied *serviceerror.PermissionDenied
	var unimplemented *serviceerror.Unimplemented
	switch {
	case errors.As(err, &missing):
		return fault.New(fault.Invalid, "connect to temporal at %s: there is no namespace %q: set TEMPORAL_NAMESPACE, "+
			"or make it: temporal operator namespace create --namespace %s --retention 72h", o.HostPort, o.Namespace, o.Namespace)
	case errors.As(err, &denied), status.Code(err) == codes.Unauthenticated:
		return t.denied(o)
	case errors.As(err, &unimplemented), status.Code(err) == codes.Unimplemented:
		return fault.New(fault.Invalid, "connect to temporal: what answers at %s is no temporal frontend", o.HostPort)
	}
	if why := lookInto(ctx, o); why != nil {
		return why
	}
	return fault.New(fault.Unavailable, "connect to temporal: %s does not answer", o.HostPort)
}

func (t Temporal) denied(o client.Options) error {
	if t.Profile.APIKey != "" {
		return fault.New(fault.Refused, "connect to temporal: %s refuses the API key for namespace %q: make a new one and set TEMPORAL_API_KEY, "+
			"or have its owner allowed to write to the namespace", o.HostPort, o.Namespace)
	}
	if t.Profile.TLS != nil && t.Profile.TLS.ClientCertPath != "" {
		return fault.New(fault.Refused, "connect to temporal: %s knows the client certificate, and does not allow it to use namespace %q", o.HostPort, o.Namespace)
	}
	return fault.New(fault.Refused, "connect to temporal: %s wants to know who is there: set TEMPORAL_API_KEY, or %s and %s", o.HostPort, certVariable, keyVariable)
}

// lookInto makes a connection by hand and says what is wrong with it; nil when it
// cannot tell.
func lookInto(ctx context.Context, o client.Options) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	address := o.HostPort
	if _, rest, ok := strings.Cut(address, ":///"); ok {
		address = rest
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if unknown := (*net.DNSError)(nil); errors.As(err, &unknown) && unknown.IsNotFound {
		return fault.New(fault.Unavailable, "connect to temporal: nobody knows a host %s: look at TEMPORAL_ADDRESS", unknown.Name)
	}
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	conf, given := o.ConnectionOptions.TLS, true
	if conf == nil {
		conf, given = &tls.Config{InsecureSkipVerify: true}, false // nothing is sent: it is only to see whether it speaks TLS
	}
	conf = conf.Clone()
	conf.NextProtos = []string{"h2"}
	err = shakeHands(ctx, tls.Client(conn, conf))
	if !given {
		if err == nil || alerted(err) {
			return fault.New(fault.Invalid, "connect to temporal: %s wants TLS: set TEMPORAL_TLS=true, and %s when its authority is your own", o.HostPort, caVariable)
		}
		return nil
	}
	return tlsFault(o.HostPort, conf.ServerName, err)
}

// shakeHands makes the handshake, and reads until the server has said something: it is
// only then that it refuses a client's certificate.
func shakeHands(ctx context.Context, c *tls.Conn) error {
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetReadDeadline(deadline)
	}
	if _, err := c.Read(make([]byte, 1)); alerted(err) {
		return err
	}
	return nil
}

// alerted reports whether the other side has ended a handshake, and said so. The type
// that crypto/tls has for it is not exported.
func alerted(err error) bool {
	said := (*net.OpError)(nil)
	return errors.As(err, &said) && said.Op == "remote error"
}

// tlsFault is what is wrong with a handshake.
func tlsFault(address, name string, err error) error {
	var (
		ours      *fault.Error
		plain     tls.RecordHeaderError
		unknown   x509.UnknownAuthorityError
		misnamed  x509.HostnameError
		invalid   x509.CertificateInvalidError
		malformed *tls.CertificateVerificationError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours): // a file of ours
		return ours
	case errors.As(err, &plain):
		return fault.New(fault.Invalid, "connect to temporal: %s does not speak TLS: set TEMPORAL_TLS=false, and no API key", address)
	case errors.As(err, &unknown):
		return fault.New(fault.Refused, "connect to temporal: the certificate of %s is signed by an authority that is not known here: set %s", address, caVariable)
	case errors.As(err, &misnamed):
		return fault.New(fault.Refused, "connect to temporal: the certificate of %s is not for the name %s: set TEMPORAL_TLS_SERVER_NAME to one that it is for", address, name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fault.New(fault.Refused, "connect to temporal: the certificate of %s has expired, or is not valid yet: have it renewed, and compare the clocks", address)
	case errors.As(err, &invalid), errors.As(err, &malformed):
		return fault.New(fault.Refused, "connect to temporal: the certificate of %s is not one for a server", address)
	case alerted(err):
		return fault.New(fault.Refused, "connect to temporal: %s refuses the client certificate, or wants one: set %s and %s to one whose authority it knows",
			address, certVariable, keyVariable)
	}
	return nil
}
