package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/guest/protocol"
)

func command(c protocol.Command) (*exec.Cmd, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("there is no program to run")
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdin = bytes.NewReader(c.Stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}

// execute runs a program to its end, or kills it when the caller goes away.
func execute(ctx context.Context, c protocol.Command) (protocol.Result, error) {
	cmd, err := command(c)
	if err != nil {
		return protocol.Result{}, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return protocol.Result{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	_ = cmd.Wait() // how it ended is in ProcessState
	return protocol.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Code: cmd.ProcessState.ExitCode()}, nil
}

// process is a program in the background.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (p *process) now() protocol.Process {
	select {
	case <-p.done:
		return protocol.Process{PID: p.cmd.Process.Pid, Code: p.cmd.ProcessState.ExitCode()}
	default:
		return protocol.Process{PID: p.cmd.Process.Pid, Running: true}
	}
}

func (d *daemon) spawn(_ context.Context, c protocol.Command) (protocol.ID, error) {
	cmd, err := command(c)
	if err != nil {
		return protocol.ID{}, err
	}
	out, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return protocol.ID{}, err
	}
	defer func() { _ = out.Close() }() // the child has its own
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return protocol.ID{}, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(p.done)
	}()
	return keep(d, d.processes, p), nil
}

func (d *daemon) look(_ context.Context, id protocol.ID) (protocol.Process, error) {
	p, err := find(d, d.processes, id.ID)
	if err != nil {
		return protocol.Process{}, err
	}
	return p.now(), nil
}

func (d *daemon) signal(ctx context.Context, s protocol.Signalled) (protocol.Process, error) {
	p, err := find(d, d.processes, s.ID)
	if err != nil {
		return protocol.Process{}, err
	}
	if p.now().Running {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.Signal(s.Signal))
	}
	ctx, cancel := context.WithTimeout(ctx, max(s.Wait, time.Millisecond))
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	return p.now(), nil
}
