package evidence_test

import (
	"bufio"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/evidence"
)

// FuzzParseHead: a first line that is read is the one line in which it is written.
func FuzzParseHead(f *testing.F) {
	line, err := evidence.Head{Link: "a-b", First: 3, Last: 7}.Line()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimSuffix(string(line), "\n"))
	f.Add(`{"keyorchEvidence":{"format":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := evidence.ParseHead([]byte(text))
		if err != nil {
			return
		}
		if again, err := h.Line(); err != nil || string(again) != text+"\n" {
			t.Errorf("%q is written as %q (%v)", text, again, err)
		}
	})
}

// FuzzVerify: whatever is given, it ends, and what has no signed end is never good.
func FuzzVerify(f *testing.F) {
	f.Add("{\"keyorchEvidence\":{\"format\":1,\"link\":\"a-b\",\"first\":1,\"last\":2}}\n{\"keyorchAudit\":{}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, proof, err := evidence.Verify(bufio.NewReader(strings.NewReader(text)), audit.Question{})
		if err == nil && proof.Checkpoints == 0 {
			t.Error("it is good without a signature")
		}
	})
}
