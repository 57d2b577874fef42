package custody

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Signed is a certificate that Vault signed.
type Signed struct {
	// Chain is the certificate and what leads to its authority, in PEM; Authority is
	// who signed it.
	Chain, Authority string
	NotBefore        time.Time
	NotAfter         time.Time
}

// SignCSR has Vault's PKI sign a request, in PEM, at a path such as
// keyorch-pki/sign/keyorch-agent.dc2, for as long as the role there allows. Errors:
// Invalid (not a request, or one that Vault's role does not allow), Refused (the
// token may not, or there is no such role), Mismatch (what came back is not for this
// request), Unavailable.
func (c *Custody) SignCSR(ctx context.Context, path string, csr []byte) (Signed, error) {
	block, _ := pem.Decode(csr)
	if block == nil {
		return Signed{}, fault.New(fault.Invalid, "sign a certificate: there is no request")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = request.CheckSignature()
	}
	if err != nil {
		return Signed{}, fault.Wrap(fault.Invalid, err, "sign a certificate: read the request")
	}
	cn := request.Subject.CommonName
	if path = strings.Trim(path, "/"); strings.Contains(path, "..") || strings.ContainsAny(path, "?#%") || !strings.Contains(path, "/sign/") {
		return Signed{}, fault.New(fault.Invalid, "sign a certificate: the path is not like keyorch-pki/sign/%s: check KEYORCH_PKI", cn)
	}
	var got struct {
		Certificate string   `json:"certificate"`
		Issuing     string   `json:"issuing_ca"`
		Chain       []string `json:"ca_chain"`
	}
	err = c.write(ctx, call{
		op: "sign", path: path, what: "signing a certificate of " + cn + " at " + path,
		bad: fault.New(fault.Invalid, "vault refuses to sign a certificate of %s at %s: there is no such role, or it does not allow that name or kind of key: run keyorch enroll, or check KEYORCH_PKI", cn, path),
	}, map[string]any{"csr": string(csr), "common_name": cn}, &got)
	if err != nil {
		return Signed{}, err
	}
	signed, err := checkSigned(got.Certificate, request, time.Now())
	if err != nil {
		return Signed{}, fault.Wrap(fault.Mismatch, err, "sign a certificate of %s at %s", cn, path)
	}
	signed.Authority = strings.TrimSpace(got.Issuing) + "\n"
	for _, above := range got.Chain {
		if block, _ := pem.Decode([]byte(above)); block == nil || selfSigned(block.Bytes) {
			continue // who is shown the chain has the root already
		}
		signed.Chain += strings.TrimSpace(above) + "\n"
	}
	return signed, nil
}

func selfSigned(der []byte) bool {
	c, err := x509.ParseCertificate(der)
	return err == nil && bytes.Equal(c.RawSubject, c.RawIssuer)
}

// checkSigned refuses a certificate that is not the answer to request.
func checkSigned(text string, request *x509.CertificateRequest, now time.Time) (Signed, error) {
	wrong := func(why string) (Signed, error) {
		return Signed{}, fault.New(fault.Mismatch, "vault gave another: %s", why)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return wrong("it is none")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return wrong("it cannot be read")
	case !bytes.Equal(c.RawSubjectPublicKeyInfo, request.RawSubjectPublicKeyInfo):
		return wrong("it is of another key")
	case c.Subject.CommonName != request.Subject.CommonName:
		return wrong("it is of another name")
	case now.After(c.NotAfter):
		return wrong("it has ended already: check the clocks of this host and of vault")
	case now.Before(c.NotBefore):
		return wrong("it is not valid yet: check the clocks of this host and of vault")
	}
	return Signed{Chain: strings.TrimSpace(text) + "\n", NotBefore: c.NotBefore, NotAfter: c.NotAfter}, nil
}

// Authority is the certificate, in PEM, of who signs at the PKI mount. Refused: there
// is none yet, or no such mount.
func (c *Custody) Authority(ctx context.Context, p Paths) (string, error) {
	var got struct {
		Certificate string `json:"certificate"`
	}
	path := p.Whole().PKI + "/cert/ca"
	none := fault.New(fault.Refused, "read the authority at %s: there is none yet: run keyorch bootstrap", p.Whole().PKI)
	err := c.read(ctx, call{op: "read-ca", path: path, what: "reading " + path, absent: none, bad: none}, &got)
	if err == nil && got.Certificate == "" {
		return "", none
	}
	return strings.TrimSpace(got.Certificate) + "\n", err
}
