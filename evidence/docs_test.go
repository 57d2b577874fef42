package evidence_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/evidence"
)

// The evidence in the docs is good, with the keys beside it, today and by this program:
// its hashes, its signatures, its approval, and that nobody kept the key that is gone.
func TestTheEvidenceInTheDocs(t *testing.T) {
	const docs = "../docs/audit"
	pem, err := os.ReadFile(filepath.Join(docs, "keys.pem"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := audit.ParseKeys(pem)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(docs, "rotation.evidence"))
	if err != nil {
		t.Fatal(err)
	}
	c, proof, err := evidence.Verify(bufio.NewReader(bytes.NewReader(text)), audit.Question{Keys: keys})
	if err != nil {
		t.Fatal(err, proof.Problems)
	}
	if len(c.Missing) > 0 || len(c.Receipts) == 0 || len(c.Consents) != 1 || !c.Consents[0].Used || len(c.Consents[0].Signatures) != 1 || !proof.Trusted {
		t.Errorf("it proves %+v", c)
	}
	dir := t.TempDir()
	files, err := c.Unpack()
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		return // TestTheEvidenceInTheDocs in e2e has it
	}
	cmd := exec.CommandContext(t.Context(), program, "-Y", "verify", "-f", filepath.Join(docs, "allowed_signers"), "-I", "bob",
		"-n", "keyorch-approval", "-s", filepath.Join(dir, files[1].Name))
	cmd.Stdin = bytes.NewReader(files[0].Data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ssh-keygen: %v\n%s", err, out)
	}
	// Teeth: of other words it says no.
	cmd = exec.CommandContext(t.Context(), program, cmd.Args[1:]...)
	cmd.Stdin = bytes.NewReader(append([]byte("not "), files[0].Data...))
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("ssh-keygen takes another statement:\n%s", out)
	}
}
