package testbed

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a daemon that a test started. It ends with the test, and also when
// the test process is killed.
type Process struct {
	// Log is the file with what it printed.
	Log  string
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{}
	end  sync.Once
}

// Start starts args in the namespace, with env beside the environment of the test
// and with its output appended to the file log. When the test fails the end of the
// log is shown.
func (n Namespace) Start(t testing.TB, log string, env []string, args ...string) *Process {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer func() { _ = out.Close() }() // the child has its own
	args = n.Args(args...)
	p := &Process{Log: log, t: t, cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is about the thread that started it
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in ProcessState
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", args[0], err)
	}
	t.Cleanup(p.finish)
	return p
}

// gentle is how long a process may take to end when it is asked to.
const gentle = 5 * time.Second

// PID is the ID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop asks the process to end, and kills it when it does not.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(gentle):
	}
	p.Kill()
}

// Kill kills the process and its group, and waits until it is gone.
func (p *Process) Kill() {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

func (p *Process) finish() {
	p.end.Do(func() {
		p.Stop()
		if p.t.Failed() {
			p.t.Logf("the end of %s:\n%s", p.Log, Tail(p.Log, 3000))
		}
	})
}

// Tail is the last n bytes of a file.
func Tail(file string, n int) string {
	data, _ := os.ReadFile(file)
	return string(data[max(0, len(data)-n):])
}

// Until waits for ok, looking every few milliseconds, and fails the test when it
// takes longer than patience. what says what is waited for.
func Until(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}
