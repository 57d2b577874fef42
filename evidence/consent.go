package evidence

import (
	"slices"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// What the trail says of a request for approvals, in Verb, and where it has what was signed.
const (
	consentAsked  = "asked"
	consentSigned = "signed"
	consentUsed   = "used"
	detailOfWords = "statement"
	detailOfSign  = "signature"
)

// Consent is a request for approvals and who signed it, as records of the trail have it.
type Consent struct {
	ID string `json:"id"`
	// Statement is what was signed, byte for byte; empty when it was too long for the trail.
	Statement string `json:"statement,omitempty"`
	// Signatures are those that are good over Statement. Whether the keys are those of approvers is
	// what the worker decided by the rules in force, and whoever reads this by the fingerprints.
	Signatures []Signature `json:"signatures,omitempty"`
	// Used says that a worker did it on the strength of these.
	Used bool `json:"used"`
}

// Signature is one person's, in the form of ssh-keygen -Y sign. By is who wrote it down.
type Signature struct {
	By        string `json:"by"`
	Signature string `json:"signature"`
	// Key is the fingerprint of the key, as ssh-keygen -l prints it.
	Key string `json:"key"`
}

// consents gathers them from the records of approvals.
func (c *Case) consents() {
	for _, n := range c.Asked {
		if n.Kind != audit.Approval || n.Approval == "" {
			continue
		}
		i := slices.IndexFunc(c.Consents, func(o Consent) bool { return o.ID == n.Approval })
		if i < 0 {
			c.Consents, i = append(c.Consents, Consent{ID: n.Approval}), len(c.Consents)
		}
		one := &c.Consents[i]
		switch n.Verb {
		case consentAsked:
			// Anybody may write such a record: the words are those of who asked, or of nobody.
			s, err := approval.ParseStatement([]byte(n.Details[detailOfWords]))
			if err == nil && s.ID == n.Approval && s.Requester == n.By {
				one.Statement = n.Details[detailOfWords]
			}
		case consentSigned:
			if key, ok := signed(n.Details[detailOfSign], one.Statement); ok {
				one.Signatures = append(one.Signatures, Signature{By: n.By, Signature: n.Details[detailOfSign], Key: key})
			} else {
				c.Trouble = append(c.Trouble, n)
			}
		case consentUsed:
			who, err := identity.ParseCommonName(n.By)
			one.Used = one.Used || err == nil && who.Role == identity.Worker
		}
	}
}

// signed checks a signature, and gives the fingerprint of its key.
func signed(armored, statement string) (string, bool) {
	s, err := approval.ParseSignature([]byte(armored))
	if err != nil || statement == "" {
		return "", false
	}
	_, err = s.Verify([]byte(statement))
	return s.Key.Fingerprint(), err == nil
}

// check is Mismatch when it was used, and its words are there without a good signature.
func (c Consent) check() error {
	if c.Used && c.Statement != "" && len(c.Signatures) == 0 {
		return fault.New(fault.Mismatch, "read the evidence: approval %s was used, and no signature is good", c.ID)
	}
	return nil
}
