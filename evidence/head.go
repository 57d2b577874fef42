package evidence

import (
	"bytes"
	"encoding/json"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// format is the version of the first line.
const format = 1

// Prefix is how the first line of an evidence file begins.
const Prefix = `{"keyorchEvidence":`

// Head is the first line. It proves nothing by itself: what it says is held against the
// records behind it.
type Head struct {
	Format   int             `json:"format"`
	Link     keychain.LinkID `json:"link"`
	Campaign string          `json:"campaign,omitempty"`
	// First is the Turn with which the rotation began, and Last the one that ended it.
	First    keychain.Turn `json:"first"`
	Last     keychain.Turn `json:"last"`
	Consents []Consent     `json:"consents,omitempty"`
}

// Consent is a request for approvals, and who signed it.
type Consent struct {
	ID string `json:"id"`
	// Statement is what was signed, byte for byte.
	Statement  string      `json:"statement"`
	Signatures []Signature `json:"signatures"`
}

// Signature is one person's, in the form of ssh-keygen -Y sign. By is who wrote it down.
type Signature struct {
	By        string `json:"by"`
	Signature string `json:"signature"`
}

type headLine struct {
	Evidence Head `json:"keyorchEvidence"`
}

// Line is h as the first line of a file.
func (h Head) Line() ([]byte, error) {
	h.Format = format
	b, err := json.Marshal(headLine{h})
	return append(b, '\n'), fault.Wrap(fault.Invalid, err, "write the evidence")
}

// ParseHead reads what Line writes, and nothing else. Faults: Invalid.
func ParseHead(line []byte) (Head, error) {
	var h headLine
	if json.Unmarshal(line, &h) != nil {
		return Head{}, noHead("the first line is not what keyorch audit evidence begins with")
	}
	if h.Evidence.Format != format {
		return Head{}, fault.New(fault.Invalid, "read the evidence: it has format %d, and this program knows %d: use a newer one", h.Evidence.Format, format)
	}
	again, err := h.Evidence.Line()
	if err != nil || !bytes.Equal(again, append(bytes.Clone(line), '\n')) {
		return Head{}, noHead("the first line was changed")
	}
	if err := keychain.ValidName(string(h.Evidence.Link)); err != nil {
		return Head{}, noHead(err.Error())
	}
	return h.Evidence, nil
}

func noHead(why string) error {
	return fault.New(fault.Invalid, "read the evidence: this is none: %s", why)
}

// check reports why a consent proves nothing, or nil. Whether the keys are those of approvers
// is for who reads it: see the fingerprints.
func (c Consent) check() error {
	s, err := approval.ParseStatement([]byte(c.Statement))
	switch {
	case err != nil:
		return err
	case s.ID != c.ID:
		return fault.New(fault.Mismatch, "the statement is that of %s", s.ID)
	case len(c.Signatures) == 0:
		return fault.New(fault.Mismatch, "nobody has signed it")
	}
	for _, one := range c.Signatures {
		sig, err := approval.ParseSignature([]byte(one.Signature))
		if err == nil {
			_, err = sig.Verify([]byte(c.Statement))
		}
		if err != nil {
			return fault.Wrap(fault.Mismatch, err, "the signature of %s", one.By)
		}
	}
	return nil
}

// Key is the fingerprint of the key that signed, as ssh-keygen -l prints it.
func (s Signature) Key() string {
	sig, err := approval.ParseSignature([]byte(s.Signature))
	if err != nil {
		return "a key that cannot be read"
	}
	return sig.Key.Fingerprint()
}
