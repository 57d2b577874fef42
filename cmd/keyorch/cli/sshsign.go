package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/fault"
)

// sshSign has ssh-keygen sign the statement of a request: with a key in a file, or else with
// one that ssh-agent has and that the rules which ask list for the person. No private key is
// read here.
func (w *world) sshSign(ctx context.Context, key string, r approval.Request) ([]byte, error) {
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		return nil, fault.New(fault.Refused, "sign: there is no ssh-keygen here: install OpenSSH's client, or sign elsewhere and use --signature")
	}
	message := r.Statement().Bytes()
	if key != "" {
		return w.sshKeygen(ctx, program, key, message)
	}
	person := approval.Person(w.by())
	lines := keysOf(approval.Asking(w.view.Rules().Rules, r.Plan), person)
	if len(lines) == 0 {
		return nil, fault.New(fault.Refused, "sign: no rule that asks for this lists a key of %s: see keyorch get rules", w.by())
	}
	held, err := w.inAgent(ctx)
	if err != nil {
		return nil, err
	}
	line, ok := firstHeld(lines, held)
	if !ok {
		return nil, fault.New(fault.Refused, "sign: ssh-agent has none of the keys that the rules list for %s: add yours with ssh-add, or name it with --key", w.by())
	}
	dir, err := os.MkdirTemp("", "keyorch-sign-")
	if err != nil {
		return nil, fault.Wrap(fault.Refused, err, "sign")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "key.pub")
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		return nil, fault.Wrap(fault.Refused, err, "sign")
	}
	return w.sshKeygen(ctx, program, file, message)
}

// keysOf are the public keys that rules list for a person. Those that more of the rules list
// come first: a person signs once, and for all of them.
func keysOf(rules []approval.Rule, person string) []string {
	var lines []string
	times := map[string]int{}
	for _, r := range rules {
		for _, a := range r.Approvers {
			for _, line := range a.Keys {
				if a.Name != person {
					continue
				}
				if times[line]++; times[line] == 1 {
					lines = append(lines, line)
				}
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int { return times[b] - times[a] })
	return lines
}

// firstHeld is the first of lines whose key is among those that an agent has.
func firstHeld(lines, held []string) (string, bool) {
	for _, line := range lines {
		key, err := approval.ParseKey(line)
		if err == nil && slices.ContainsFunc(held, func(other string) bool {
			o, err := approval.ParseKey(other)
			return err == nil && o.Is(key)
		}) {
			return line, true
		}
	}
	return "", false
}

// inAgent are the public keys that ssh-agent has.
func (w *world) inAgent(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, "ssh-add", "-L")
	var out bytes.Buffer
	cmd.Stdout, cmd.Env = &out, w.environ()
	const empty = 1 // the exit code when it has no key
	switch err := cmd.Run(); {
	case err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != empty):
		return nil, fault.New(fault.Refused, "sign: no ssh-agent answers: start one and add your key with ssh-add, or name a file with --key")
	case err != nil:
		return nil, nil
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n"), nil
}

// environ is the environment of programs that are run; nil is that of this one.
func (w *world) environ() []string {
	if w.app.environ == nil {
		return nil
	}
	return w.app.environ()
}

// sshKeygen runs it. It asks for passphrase, PIN and touch on the terminal itself.
func (w *world) sshKeygen(ctx context.Context, program, key string, message []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, "-Y", "sign", "-n", approval.Namespace, "-f", key)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = bytes.NewReader(message), &out, w.app.err, w.environ()
	if err := cmd.Run(); err != nil {
		return nil, fault.New(fault.Refused, "sign: ssh-keygen did not sign with %s", key)
	}
	return out.Bytes(), nil
}
