package custody

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/fault"
)

// maxAnswer is the longest answer of Vault that is read, in bytes.
const maxAnswer = 1 << 20

// noSuchKey is what Transit says, with status 400, of a KEK that is not there.
// It is compared with and never shown.
const noSuchKey = "encryption key not found"

// call is one request as errors tell of it.
type call struct {
	op   string // as Config.Observe is told
	path string
	what string // "datakey/wrapped under keyorch-site-dc2"
	kek  string // the KEK that is used, if any
	// bad is the error of a request that Vault calls bad (status 400); nil means
	// Invalid.
	bad error
	// old is the error of a version of the KEK that is retired; nil means bad.
	old error
	// absent is the error of a path with nothing there (status 404); nil means
	// Refused.
	absent error
	// whole reads all of the answer and not just its data.
	whole bool
}

// do runs one request within the time limit and reads its data into out. When the
// token has ended it logs in, once, and comes again.
func (c *Custody) do(ctx context.Context, what call, out any, send func(context.Context) (*api.Response, error)) (err error) {
	began := time.Now()
	defer func() { c.observe(what.op, time.Since(began), err) }()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	serial := c.session.used()
	err = c.asked(ctx, what, out, send)
	if !errors.Is(err, errForbidden) {
		return err
	}
	switch is, why := c.revive(ctx, serial); is {
	case replaced:
		return c.asked(ctx, what, out, send)
	case alive:
		return &fault.Error{Kind: fault.Refused, Cause: notAllowed{what.what, c.session.named(), what.path}}
	case ended:
		kind := fault.Refused
		if fault.Is(why, fault.Unavailable) { // no login just now: to be tried again
			kind = fault.Unavailable
		}
		return fault.Wrap(kind, why, "vault refuses %s: the token has ended or has no policy any more", what.what)
	case inDoubt:
	}
	return err
}

// asked runs one request. The bytes that held the answer are cleared: they may hold
// a key.
func (c *Custody) asked(ctx context.Context, what call, out any, send func(context.Context) (*api.Response, error)) error {
	resp, err := send(ctx)
	if resp != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	switch {
	case err != nil:
		return c.failed(ctx, what, err)
	case resp == nil, out == nil, resp.StatusCode == http.StatusNoContent:
		return nil
	}
	body, err := readAll(resp.Body)
	defer clear(body)
	if err != nil {
		return c.away(ctx, err)
	}
	answer := any(&struct {
		Data any `json:"data"`
	}{Data: out})
	if what.whole {
		answer = out
	}
	if json.Unmarshal(body, answer) != nil {
		return c.garbled()
	}
	return nil
}

// errForbidden is status 403: of the token, or of its policy.
var errForbidden = errors.New("the token's policy does not allow it, or the token has ended")

// notAllowed is errForbidden of a token that is alive.
type notAllowed struct{ what, policies, path string }

func (n notAllowed) Error() string {
	return "vault refuses " + n.what + ": the token's policy does not allow it (policies " + n.policies + "; path " + n.path + ")"
}

// Is makes it errForbidden for errors.Is.
func (n notAllowed) Is(err error) bool { return err == errForbidden }

// errNoKEK is a KEK that is not there.
var errNoKEK = errors.New("it has no key of that name")

var errGarbled = errors.New("what answers there does not speak like Vault")

// garbled is an answer that cannot be Vault's: a proxy's page, say.
func (c *Custody) garbled() error {
	return fault.Wrap(fault.Unavailable, errGarbled, "reach vault at %s", c.address)
}

// failed turns the client's error into one of keyorch. Nothing that the server
// wrote gets into it: of an answer only the status is used.
func (c *Custody) failed(ctx context.Context, what call, err error) error {
	code, answered := status(err)
	switch {
	case !answered:
		return c.away(ctx, err)
	case code == http.StatusBadRequest && what.kek != "" && said(err, noSuchKey):
		return fault.Wrap(fault.Refused, errNoKEK, "vault refuses %s", what.what)
	case code == http.StatusBadRequest && what.old != nil && said(err, saysTooOld):
		return what.old
	case code == http.StatusBadRequest && what.bad != nil:
		return what.bad
	case code == http.StatusForbidden:
		return fault.Wrap(fault.Refused, errForbidden, "vault refuses %s", what.what)
	case code == http.StatusNotFound && said(err, saysNoHandler):
		return fault.New(fault.Refused, "vault refuses %s: nothing is mounted at %s%s: run keyorch bootstrap, or check VAULT_NAMESPACE",
			what.what, what.path, inNamespace(c.client.Namespace()))
	case code == http.StatusNotFound && what.absent != nil:
		return what.absent
	case code == http.StatusNotFound:
		return fault.New(fault.Refused, "vault refuses %s: there is nothing at %s", what.what, what.path)
	case code == http.StatusTooManyRequests:
		return fault.New(fault.Unavailable, "reach vault at %s: it is too busy", c.address)
	case code == http.StatusServiceUnavailable:
		return fault.New(fault.Unavailable, "reach vault at %s: it is sealed or not ready (status 503)", c.address)
	case code == statusStandby, code == statusSecondary:
		return fault.New(fault.Unavailable, "reach vault at %s: it is a standby and forwards nothing (status %d)", c.address, code)
	case code >= http.StatusInternalServerError, code == http.StatusPreconditionFailed:
		return fault.New(fault.Unavailable, "reach vault at %s: it failed with status %d", c.address, code)
	}
	return fault.New(fault.Invalid, "vault refuses %s: status %d", what.what, code)
}

// away says why there was no answer. Only causes that this host knows of are
// named: the message of a broken answer would quote it.
func (c *Custody) away(ctx context.Context, err error) error {
	var op *net.OpError
	var untrusted *tls.CertificateVerificationError
	ours := new(fault.Error) // a file that the connection needs
	switch {
	case errors.As(err, &ours):
		return fault.Wrap(ours.Kind, ours, "reach vault at %s", c.address)
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(fault.Unavailable, ctx.Err(), "reach vault at %s", c.address)
	case ctx.Err() != nil:
		return fault.Wrap(fault.Unavailable, ctx.Err(), "reach vault at %s: no answer", c.address)
	case errors.As(err, &op):
		return fault.Wrap(fault.Unavailable, op, "reach vault at %s", c.address)
	case errors.As(err, &untrusted):
		return fault.New(fault.Unavailable, "reach vault at %s: its certificate is not trusted: check VAULT_CACERT", c.address)
	}
	return fault.New(fault.Unavailable, "reach vault at %s: no usable answer", c.address)
}

// status is the HTTP status of err, if it is an answer of the server.
func status(err error) (int, bool) {
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		return 0, false
	}
	return answer.StatusCode, true
}

// said reports whether the server's answer holds text.
func said(err error, text string) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && strings.Contains(strings.Join(answer.Errors, "\n"), text)
}

// readAll reads an answer into one buffer, without the growing copies of
// io.ReadAll that nobody would clear.
func readAll(r io.Reader) ([]byte, error) {
	buf := make([]byte, 0, 4096)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		case len(buf) > maxAnswer:
			return buf, errors.New("the answer is too long")
		case len(buf) == cap(buf):
			grown := make([]byte, len(buf), 2*cap(buf))
			copy(grown, buf)
			clear(buf)
			buf = grown
		}
	}
}
