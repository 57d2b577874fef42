package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/keyorch/keyorch/identity"
)

const (
	// late is the part of a certificate's life after which it should long have been
	// renewed.
	late = 0.9
	// manual is how much before its end a certificate is renewed that nobody renews by
	// itself.
	manual = 7 * 24 * time.Hour
)

// who says who this process is, and looks at its certificate.
func (p Patient) who() (person, []Finding) {
	a := about{subject: Identity}
	c, err := p.Etcd.Files.Read(p.Now(), "etcd")
	if err != nil {
		a.failed("certificate", err)
		me := p.guess()
		if me.known {
			a.warn("name", "the certificate cannot be used: what follows takes it for "+me.CommonName(), "")
		}
		return me, a.found
	}
	a.ok("name", c.Identity.CommonName()+", "+described(c.Identity))
	judgeLife(&a, c.Leaf.NotBefore, c.Leaf.NotAfter, p.Now())
	if v := p.Custody; v.ClientCert != "" && v.ClientCert != p.Etcd.Files.Cert {
		other, err := identity.Files{CA: v.CACert, Cert: v.ClientCert, Key: v.ClientKey}.Read(p.Now(), "vault")
		switch {
		case err != nil:
			a.failed("certificate for vault", err)
		case other.Identity != c.Identity:
			a.fail("certificate for vault", fmt.Sprintf("etcd is shown %s, and Vault %s", c.Identity, other.Identity),
				"set VAULT_CLIENT_CERT and ETCDCTL_CERT to certificates of one name")
		default:
			a.ok("certificate for vault", "of the same name")
		}
	}
	if p.Site != "" && (c.Identity.Role != identity.Agent || c.Identity.Site != p.Site || c.Identity.Node != "" && c.Identity.Node != p.Node) {
		a.fail("site", fmt.Sprintf("%s cannot serve %s", c.Identity, place(p)), "enroll and join for that site, or check --site, --node and --identity")
	}
	return person{c.Identity, true}, a.found
}

// guess is who the certificate says that it is of, although it cannot be used.
func (p Patient) guess() person {
	text, err := os.ReadFile(p.Etcd.Files.Cert)
	if block, _ := pem.Decode(text); err == nil && block != nil {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			if i, err := identity.ParseCommonName(cert.Subject.CommonName); err == nil {
				return person{i, true}
			}
		}
	}
	if p.Site != "" {
		return person{identity.Identity{Role: identity.Agent, Site: p.Site, Node: p.Node}, true}
	}
	return person{}
}

func place(p Patient) string {
	if p.Node != "" {
		return fmt.Sprintf("node %s of site %s", p.Node, p.Site)
	}
	return "site " + string(p.Site)
}

func described(i identity.Identity) string {
	switch i.Role {
	case identity.Admin:
		return "the administrator"
	case identity.Worker:
		return "a worker"
	case identity.Operator:
		return "an operator"
	case identity.Auditor:
		return "an auditor"
	case identity.Agent:
		if i.Node != "" {
			return fmt.Sprintf("the agent of node %s of site %s", i.Node, i.Site)
		}
		return fmt.Sprintf("the agents of site %s", i.Site)
	}
	return string(i.Role)
}

// judgeLife looks at how much of its life a valid certificate has left. One that is
// renewed by itself is so at 5/6 of it at the latest.
func judgeLife(a *about, from, to, now time.Time) {
	left := to.Sub(now)
	said := fmt.Sprintf("valid until %s, for %s", to.UTC().Format(time.RFC3339), span(left))
	const mend = "see the log of whoever renews it (keyorch agent or worker, cert-manager, SPIFFE), or enroll and join again"
	switch life := to.Sub(from); {
	case float64(now.Sub(from)) > late*float64(life), left < manual && life > 4*manual:
		a.warn("certificate", said+": it should have been renewed by now", mend)
	default:
		a.ok("certificate", said)
	}
}

// span is a time for people: its two largest units.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", int(d.Seconds()))
}
