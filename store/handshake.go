package store

import (
	"crypto/x509"
	"errors"
	"strings"

	"github.com/keyorch/keyorch/identity"
)

// alert is what package crypto/tls says when the other side gave the reason.
const alert = "remote error: tls: "

// handshake is why etcd and a client did not come together, in words that say what to
// do. It is tried again, since either side may be mended meanwhile.
type handshake struct{ words string }

func (h handshake) Error() string { return h.words }

// explain gives the reason for which no connection could be made; nil when it is no
// question of certificates.
func explain(err error, files identity.Files, name string) error {
	if err == nil {
		return nil
	}
	authority := files.CA
	if authority == "" {
		authority = "the system's authorities"
	}
	var unknown x509.UnknownAuthorityError
	var wrong x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return handshake{"etcd's certificate comes from an authority that is not in " + authority + ": is it the right etcd? then put its authority there (ETCDCTL_CACERT)"}
	case errors.As(err, &wrong):
		return handshake{"etcd's certificate is not for this address: " + wrong.Error()}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return handshake{"etcd's certificate is not valid at this time: " + invalid.Detail + ": renew it, or compare the clocks"}
	case errors.As(err, &invalid):
		return handshake{"etcd's certificate cannot be used: " + invalid.Error()}
	}
	_, reason, refused := strings.Cut(err.Error(), alert)
	switch {
	case refused && strings.Contains(reason, "expired"):
		return handshake{"etcd refuses the client certificate of " + name + " in " + files.Cert + ": it has expired: have it renewed, or enrol and join again"}
	case refused:
		return handshake{"etcd refuses the client certificate of " + name + " in " + files.Cert + " (" + reason +
			"): it must come from an authority that etcd trusts (its --trusted-ca-file) and be valid"}
	case strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return handshake{"etcd answers without TLS: start it with --cert-file, --key-file, --trusted-ca-file and --client-cert-auth"}
	}
	return nil
}
