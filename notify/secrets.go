package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// Secrets are those of one webhook. Nothing prints them.
type Secrets struct {
	url        string
	signing    [][]byte
	routingKey string
	bearer     string
	roots      *x509.CertPool // nil: those of the system
}

// String keeps secrets out of whatever prints one.
func (s Secrets) String() string { return "(secrets)" }

// GoString keeps them out of %#v.
func (s Secrets) GoString() string { return "(secrets)" }

// Directory is where a worker keeps the secrets of webhooks, a file each.
// They are read anew whenever something is sent.
type Directory string

// maxSecret is the largest file that is read, in bytes: certificates may be several.
const maxSecret = 256 << 10

// Of reads the secrets of a webhook. Faults: Invalid for what is not what it has to be,
// Unavailable for what is not there. No error has a word of a file.
func (d Directory) Of(h topology.Webhook) (Secrets, error) {
	s := Secrets{url: h.URL}
	if s.url == "" && h.URLFile == "" && h.Format == topology.PagerDuty {
		s.url = topology.PagerDutyURL
	}
	if h.URLFile != "" {
		text, err := d.line(h.URLFile)
		if err != nil {
			return s, err
		}
		s.url = text
	}
	if err := topology.CheckURL(s.url); err != nil {
		return s, fault.Wrap(fault.Invalid, err, "read the URL of webhook %s", h.Name)
	}
	if h.CAFile != "" {
		data, err := d.read(h.CAFile)
		if err != nil {
			return s, err
		}
		s.roots = x509.NewCertPool()
		if !s.roots.AppendCertsFromPEM(data) {
			return s, fault.New(fault.Invalid, "read file %s: it has no certificate in PEM", h.CAFile)
		}
	}
	if h.SecretFile == "" {
		return s, nil
	}
	err := d.secret(h, &s)
	return s, err
}

func (d Directory) secret(h topology.Webhook, s *Secrets) (err error) {
	switch h.Format {
	case topology.Standard:
		data, err := d.read(h.SecretFile)
		if err != nil {
			return err
		}
		s.signing, err = signingKeys(string(data))
		return fault.Wrap(fault.Invalid, err, "read file %s", h.SecretFile)
	case topology.PagerDuty:
		if s.routingKey, err = d.line(h.SecretFile); err == nil && !isRoutingKey(s.routingKey) {
			err = fault.New(fault.Invalid, "read file %s: a routing key is 32 letters and digits", h.SecretFile)
		}
	case topology.Alertmanager:
		s.bearer, err = d.line(h.SecretFile)
	case topology.Slack:
	}
	return err
}

func isRoutingKey(s string) bool {
	const long = 32
	return len(s) == long && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// line is the one line of a file.
func (d Directory) line(name string) (string, error) {
	data, err := d.read(name)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(data))
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.New(fault.Invalid, "read file %s: it has to have one line of printable characters", name)
	}
	return text, nil
}

func (d Directory) read(name string) ([]byte, error) {
	if d == "" {
		return nil, fault.New(fault.Invalid, "read file %s: the worker was told no directory: start it with --webhook-secrets", name)
	}
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, fault.New(fault.Invalid, "read file %q: it is no name of a file", name)
	}
	f, err := os.Open(filepath.Join(string(d), name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.Unavailable, "read file %s: it is not in %s", name, string(d))
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, errors.Unwrap(err), "read file %s in %s", name, string(d))
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, errors.Unwrap(err), "read file %s in %s", name, string(d))
	case len(data) > maxSecret:
		return nil, fault.New(fault.Invalid, "read file %s: it is larger than %d bytes", name, maxSecret)
	}
	return data, nil
}

// The bounds of a signing key, in bytes, and how a secret begins.
const (
	minSigning   = 24
	maxSigning   = 64
	secretPrefix = "whsec_"
)

// signingKeys reads secrets as Standard Webhooks writes them, one a line: while a
// receiver changes to a new one, both sign.
func signingKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), secretPrefix)
		key, err := base64.StdEncoding.Strict().DecodeString(rest)
		if !ok || err != nil || len(key) < minSigning || len(key) > maxSigning {
			return nil, fmt.Errorf("line %d is no secret of Standard Webhooks: %s and %d to %d bytes in base64", i+1, secretPrefix, minSigning, maxSigning)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// sign puts the headers of Standard Webhooks on a message.
func (m *Message) sign(s Secrets, id string, now time.Time) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	var signatures []string
	for _, key := range s.signing {
		h := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(h, "%s.%s.%s", id, stamp, m.Body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	m.Header.Set("Webhook-Id", id)
	m.Header.Set("Webhook-Timestamp", stamp)
	m.Header.Set("Webhook-Signature", strings.Join(signatures, " "))
}
