package evidence

import (
	"bytes"
	"encoding/json"

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
	First keychain.Turn `json:"first"`
	Last  keychain.Turn `json:"last"`
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
