package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
)

// Process is the keyorch binary running as a worker or as an agent, so that it
// can be killed.
type Process struct {
	// Log is the file that has what it printed, of earlier lives too.
	Log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// Kill ends the process with SIGKILL: it gets to say nothing and to clean up
// nothing.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Terminate asks the process to end, and gives its exit code.
func (p *Process) Terminate() int {
	p.end(syscall.SIGTERM)
	return p.cmd.ProcessState.ExitCode()
}

// PID is its process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

func (p *Process) end(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // it may have ended
	<-p.done
}

// Binary is a keyorch binary with a lab to run in.
type Binary struct {
	Lab  *Lab
	Path string
	Env  []string // of every process, beside that of its identity
}

// Worker starts `keyorch worker`.
func (b *Binary) Worker(ctx context.Context, more ...string) (*Process, error) {
	return b.start(ctx, devstack.Worker, "worker.log", append([]string{"worker"}, more...)...)
}

// Agent starts `keyorch agent` for a site, with a journal of its own below Dir.
func (b *Binary) Agent(ctx context.Context, site keychain.SiteID, more ...string) (*Process, error) {
	args := append([]string{"agent", "--site", string(site), "--state-dir", filepath.Join(b.Lab.Dir, "state", string(site))}, more...)
	return b.start(ctx, devstack.AgentIdentity(site), "agent-"+string(site)+".log", args...)
}

// Alone starts `keyorch agent` for a site as Agent does, with nothing in its
// environment that says where a server is or who it is.
func (b *Binary) Alone(site keychain.SiteID, more ...string) (*Process, error) {
	args := append([]string{"agent", "--site", string(site), "--state-dir", filepath.Join(b.Lab.Dir, "state", string(site))}, more...)
	return b.startWith(nil, "agent-"+string(site)+".log", args...)
}

func (b *Binary) start(ctx context.Context, identity, log string, args ...string) (*Process, error) {
	env, err := b.Lab.Stack.Env(ctx, identity)
	if err != nil {
		return nil, err
	}
	return b.startWith(env, log, args...)
}

func (b *Binary) startWith(env []string, log string, args ...string) (*Process, error) {
	path := filepath.Join(b.Lab.Dir, log)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = out.Close() }() // the child has its own
	cmd := exec.Command(b.Path, args...)
	cmd.Env = slices.Concat(env, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.Lab.Dir}, b.Env)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start keyorch: %w", err)
	}
	p := &Process{Log: path, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.done)
	}()
	return p, nil
}

// Run runs a verb to its end as the operator, with extra environment.
func (b *Binary) Run(ctx context.Context, extra []string, args ...string) Said {
	env, err := b.Lab.Stack.Env(ctx, devstack.Operator)
	if err != nil {
		return Said{Err: err.Error(), Code: -1}
	}
	var out, errOut strings.Builder
	cmd := exec.CommandContext(ctx, b.Path, args...)
	cmd.Env = slices.Concat(env, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.Lab.Dir}, b.Env, extra)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run() // the exit code tells
	return Said{Out: out.String(), Err: errOut.String(), Code: cmd.ProcessState.ExitCode()}
}
