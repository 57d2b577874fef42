package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/fault"
)

// sshSign has ssh-keygen sign a message: with a key in a file, or else with the first
// of the person's keys in the rules that ssh-agent has. No private key is read here.
func (w *world) sshSign(ctx context.Context, key string, message []byte) ([]byte, error) {
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		return nil, fault.New(fault.Refused, "sign: there is no ssh-keygen here: install OpenSSH's client, or sign elsewhere and use --signature")
	}
	if key != "" {
		return w.sshKeygen(ctx, program, key, message)
	}
	lines := w.ownKeys()
	if len(lines) == 0 {
		return nil, fault.New(fault.Refused, "sign: no rule in force lists a key of %s: see keyorch get rules", w.by())
	}
	dir, err := os.MkdirTemp("", "keyorch-sign-")
	if err != nil {
		return nil, fault.Wrap(fault.Refused, err, "sign")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, line := range lines {
		file := filepath.Join(dir, "key.pub")
		if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
			return nil, fault.Wrap(fault.Refused, err, "sign")
		}
		if signed, err := w.sshKeygen(ctx, program, file, message); err == nil {
			return signed, nil
		}
	}
	return nil, fault.New(fault.Refused, "sign: ssh-agent has none of the keys that the rules list for %s: name yours with --key", w.by())
}

// ownKeys are the public keys that the rules in force list for whom this is.
func (w *world) ownKeys() []string {
	var lines []string
	for _, r := range w.view.Rules().Rules {
		for _, a := range r.Approvers {
			for _, line := range a.Keys {
				if a.Name == approval.Person(w.by()) && !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
		}
	}
	return lines
}

// sshKeygen runs it. It asks for passphrase, PIN and touch on the terminal itself.
func (w *world) sshKeygen(ctx context.Context, program, key string, message []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, "-Y", "sign", "-n", approval.Namespace, "-f", key)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(message), &out, w.app.err
	if w.app.environ != nil {
		cmd.Env = w.app.environ()
	}
	if err := cmd.Run(); err != nil {
		return nil, fault.New(fault.Refused, "sign: ssh-keygen did not sign with %s", key)
	}
	return out.Bytes(), nil
}
