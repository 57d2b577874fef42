package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/secret"
)

const (
	// maxOutput is how much the program may print, in bytes.
	maxOutput = 64 << 10
	// maxStderr is how much of standard error is kept, in bytes. The rest is
	// thrown away.
	maxStderr = 8 << 10
	// exitRefused is the exit code that says: no, for good.
	exitRefused = 10
	// lingering is how long a pipe may stay open once the program itself is gone,
	// because of something that it started.
	lingering = time.Second
	// defaultPath is where programs are found when the agent has no PATH.
	defaultPath = "/usr/local/bin:/usr/bin:/bin"
)

// passedOn lists the agent's own variables that a program gets: nothing that
// could hold a credential.
func passedOn() []string { return []string{"PATH", "HOME", "LANG", "TZ"} }

// run runs the program once and judges how it ended.
func (d *Device) run(ctx context.Context, r request, key secret.Key) (report, error) {
	in, err := encode(r, key)
	defer clear(in) // for the ways out before feed has it
	if err != nil {
		return report{}, fault.Wrap(fault.Invalid, err, "write the request for %s", d.name)
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	out, words := &capture{most: maxOutput, overflow: cancel}, &capture{most: maxStderr}
	defer clear(out.kept)
	cmd := exec.CommandContext(limited, d.command[0], d.command[1:]...)
	cmd.Env = d.environment()
	cmd.Stdout, cmd.Stderr = out, words
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = lingering
	fed, err := d.start(ctx, cmd, r.Op, in)
	if err != nil {
		return report{}, err
	}
	_ = cmd.Wait() // how it ended is in ProcessState
	fed()
	if d.overhear != nil {
		d.overhear(r, out.kept, words.kept, key)
	}
	// The program is gone; what it left behind in its group goes too, so that no
	// run reaches into the next.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	switch how := cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case out.full:
		return report{}, fault.New(garbage(r.Op), "%s printed more than %d KiB in %s", d.name, maxOutput>>10, r.Op)
	case how.Signaled() && ctx.Err() != nil:
		return report{}, fault.Wrap(fault.Unknown, ctx.Err(), "%s was stopped in %s", d.name, r.Op)
	case how.Signaled() && limited.Err() != nil:
		return report{}, fault.New(fault.Unknown, "%s did not finish %s within %v", d.name, r.Op, d.timeout)
	case how.Signaled():
		return report{}, fault.New(fault.Unknown, "%s was killed in %s by a signal: %v", d.name, r.Op, how.Signal())
	case how.ExitStatus() == exitRefused:
		return report{}, fault.New(fault.Refused, "%s refused %s%s", d.name, r.Op, said(words.kept, key))
	case how.ExitStatus() != 0:
		return report{}, fault.New(fault.Unavailable, "%s failed %s with exit code %d%s", d.name, r.Op, how.ExitStatus(), said(words.kept, key))
	}
	shown, err := decode(out.kept, r.Role)
	if err != nil {
		return report{}, fault.Wrap(garbage(r.Op), err, "%s finished %s, but its answer is no good", d.name, r.Op)
	}
	return shown, nil
}

// garbage is the kind of an answer that cannot be read: after a change it is not
// known what happened, while looking changes nothing.
func garbage(op string) fault.Kind {
	if op == opObserve {
		return fault.Unavailable
	}
	return fault.Unknown
}

// start starts cmd and feeds it in. fed waits until the feeding has ended, and in
// has been cleared; it is called after the program has ended.
func (d *Device) start(ctx context.Context, cmd *exec.Cmd, op string, in []byte) (fed func(), err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "run %s", d.name)
	}
	defer read.Close()
	cmd.Stdin = read
	if err := cmd.Start(); err != nil {
		_ = write.Close()
		if ctx.Err() != nil {
			return nil, notRun(ctx, d.name, op)
		}
		return nil, notStarted(err, d.command[0])
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = write.Write(in) // a program that does not read it all is in its right
		clear(in)
		_ = write.Close()
	}()
	return func() {
		_ = write.Close()
		<-done
	}, nil
}

// notStarted tells a program that cannot run as it is from a host in trouble.
func notStarted(err error, path string) error {
	for _, wrong := range []error{
		fs.ErrNotExist, fs.ErrPermission, exec.ErrNotFound, exec.ErrDot,
		syscall.ENOEXEC, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.E2BIG, syscall.ENAMETOOLONG,
	} {
		if !errors.Is(err, wrong) {
			continue
		}
		cause := wrong
		if _, there := os.Stat(path); there == nil && errors.Is(err, fs.ErrNotExist) {
			cause = errors.New("the program is there, but its interpreter is not: look at its first line")
		}
		return fault.Wrap(fault.Invalid, cause, "run %s", path)
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		err = no
	}
	return fault.Wrap(fault.Unavailable, err, "run %s", path)
}

// environment is what the program gets: four variables of the agent's, and what
// the topology says.
func (d *Device) environment() []string {
	var env []string
	for _, name := range passedOn() {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if !slices.ContainsFunc(env, func(s string) bool { return len(s) > 5 && s[:5] == "PATH=" }) {
		env = append(env, "PATH="+defaultPath)
	}
	for name, value := range d.env { // a later one counts
		env = append(env, name+"="+value)
	}
	return env
}

// capture keeps the beginning of what a program prints.
type capture struct {
	most int
	kept []byte
	full bool
	// overflow, if set, is called when there is more than most; then no more is
	// taken. Otherwise the rest is thrown away.
	overflow func()
}

var errOverflow = fmt.Errorf("more than %d bytes: %w", maxOutput, io.ErrShortWrite)

// Write implements io.Writer.
func (c *capture) Write(b []byte) (int, error) {
	room := min(c.most-len(c.kept), len(b))
	if c.kept == nil {
		c.kept = make([]byte, 0, c.most)
	}
	c.kept = append(c.kept, b[:room]...)
	if room == len(b) {
		return len(b), nil
	}
	c.full = true
	if c.overflow == nil {
		return len(b), nil
	}
	c.overflow()
	return room, errOverflow
}
