package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
)

// evidenceDocs is where the evidence of a real rotation stands, with what checks it.
const evidenceDocs = "../docs/audit"

const evidencePage = `# The evidence of a real rotation

This is what TestTheEvidenceInTheDocs left (` + "`cd e2e && go test -run EvidenceInTheDocs -update .`" + ` writes it anew): a link of two sites, on real servers with
TLS and access control, was given a new key outside its window. A rule asks for an approval of that, and bob gave it with ` + "`ssh-keygen -Y sign`" + `. The
devices are simulated. What is in the file and what it proves: [evidence.md](../evidence.md).

| file | what |
| --- | --- |
| [rotation.evidence](rotation.evidence) | the evidence |
| [keys.pem](keys.pem) | the public key of the trail, as ` + "`keyorch audit key`" + ` printed it |
| [allowed_signers](allowed_signers) | bob's public key, as the rule has it, for ` + "`ssh-keygen`" + ` |

The hashes, the signed end, and that it is a whole rotation, without any server:

` + "```\n$ keyorch audit verify rotation.evidence --key keys.pem\n%s```" + `

The approval, with a program that knows nothing of keyorch:

` + "```\n$ keyorch audit show --evidence rotation.evidence --unpack . > /dev/null\n$ ssh-keygen -Y verify -f allowed_signers -I bob -n keyorch-approval -s %s.sig < %s.statement\n%s```" + `

What bob signed:

` + "```\n$ cat %s.statement\n%s```" + `

And what the file says:

` + "```\n$ keyorch audit show --evidence rotation.evidence\n%s```\n"

// TestTheEvidenceInTheDocs does what the page in the docs tells of, and sees that the page still
// has its form. With -update it writes the page and the files beside it.
func TestTheEvidenceInTheDocs(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "bob")
	sshKeygen(t, nil, "-q", "-t", "ed25519", "-N", "", "-C", "bob@office", "-f", key)
	public, err := os.ReadFile(key + ".pub")
	must(t, err)
	w.apply(evident + fmt.Sprintf(`---
apiVersion: keyorch/v1
kind: ApprovalRule
metadata: {name: two-people}
spec: {verbs: [rotate-force], approvals: 1, approvers: [{name: bob, keys: [%q]}], deadline: 1h}
`, strings.TrimSpace(string(public))))
	w.startWorker()
	for _, site := range []keychain.SiteID{"dc1", "dc2"} {
		identity, _ := w.joined(site)
		w.agents[site] = w.agentOf(site, identity)
	}
	w.traffic()
	w.rotate(0, "watched")
	bob := filepath.Join(dir, "identity")
	w.administrator(0, "enroll", "--operator", "bob", "--out", filepath.Join(dir, "bob.join"))
	w.nobody(0, "join", "-f", filepath.Join(dir, "bob.join"), "--identity", bob)

	force := []string{"rotate", "watched", "--ignore-windows", "--reason", "its key was on a slide"}
	id := regexp.MustCompile(`ap-[0-9]{8}-[0-9]{6}-[0-9a-f]{16}`).FindString(w.keyorch(3, force...).Err)
	statement := filepath.Join(dir, "statement")
	must(t, os.WriteFile(statement, []byte(w.nobody(0, "approvals", "show", id, "-o", "statement", "--identity", bob).Out), 0o600))
	sshKeygen(t, nil, "-q", "-Y", "sign", "-n", "keyorch-approval", "-f", key, statement)
	w.nobody(0, "approvals", "sign", id, "--signature", statement+".sig", "--identity", bob)
	w.keyorch(0, append(force, "--approval", id)...)

	files := filepath.Join(dir, "docs")
	must(t, os.Mkdir(files, 0o700))
	evidence, keys, signers := filepath.Join(files, "rotation.evidence"), filepath.Join(files, "keys.pem"), filepath.Join(files, "allowed_signers")
	w.keyorch(0, "audit", "evidence", "watched", "-f", evidence)
	must(t, os.WriteFile(keys, []byte(w.keyorch(0, "audit", "key").Out), 0o600))
	must(t, os.WriteFile(signers, []byte(`bob namespaces="keyorch-approval" `+string(public)), 0o600))

	verified := w.nobody(0, "audit", "verify", evidence, "--key", keys).Out
	said(t, verified, "verified:", "given with --key", "approval: "+id+", signed by keyorch-operator.bob", "says that it is destroyed (3)")
	unpacked := t.TempDir()
	shown := w.nobody(0, "audit", "show", "--evidence", evidence, "--unpack", unpacked).Out
	words, err := os.ReadFile(filepath.Join(unpacked, id+".statement"))
	must(t, err)
	checked := sshKeygen(t, words, "-Y", "verify", "-f", signers, "-I", "bob", "-n", "keyorch-approval", "-s", filepath.Join(unpacked, id+".keyorch-operator.bob.sig"))
	said(t, checked, `Good "keyorch-approval" signature for bob`)
	w.keepPage(t, files, fmt.Sprintf(evidencePage, verified, id+".keyorch-operator.bob", id, checked, id, words, shown))
}

// keepPage compares the page with the one in the docs, but for what is another one each time, or
// writes it with the files.
func (w *world) keepPage(t *testing.T, files, page string) {
	path := filepath.Join(evidenceDocs, "README.md")
	if *update {
		for _, name := range []string{"rotation.evidence", "keys.pem", "allowed_signers"} {
			data, err := os.ReadFile(filepath.Join(files, name))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(evidenceDocs, name), data, 0o644))
		}
		must(t, os.WriteFile(path, []byte(page), 0o644))
		return
	}
	kept, err := os.ReadFile(path)
	must(t, err)
	if form(string(kept)) != form(page) {
		t.Errorf("%s has another form than what is printed now (rewrite it with -update, and read the diff):\n%s", path, page)
	}
}

// form is a text without numbers, hashes and names that are made by chance, its lines sorted:
// what several nodes do at once has no order. Counters and sums of others come and go.
func form(text string) string {
	text = regexp.MustCompile(`, \d+ of them by their sums alone`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z|SHA256:\S+|\b[0-9a-f]*[0-9][0-9a-f]*\b`).ReplaceAllString(text, "#")
	lines := strings.Split(regexp.MustCompile(`#[-#:.TZ]*`).ReplaceAllString(text, "#"), "\n")
	for i, l := range lines {
		words := strings.Fields(l)
		if len(words) > 0 && (words[0] == "before" || words[0] == "after") {
			words = words[:1]
		}
		lines[i] = strings.Join(words, " ")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// sshKeygen runs ssh-keygen with a standard input, and gives what it says.
func sshKeygen(t *testing.T, in []byte, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ssh-keygen", args...)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
	}
	return string(out)
}
