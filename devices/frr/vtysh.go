package frr

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/keyorch/keyorch/fault"
)

const (
	// maxOutput is how much vtysh may print: a configuration with tens of thousands
	// of interfaces.
	maxOutput = 32 << 20
	// maxWords is how much of its complaints is kept. The rest is thrown away.
	maxWords = 16 << 10
	// grace is how long a change that has begun may go on once its context has
	// ended: a file that is cut off in the middle costs more than the wait.
	grace = 2 * time.Second
	// lingering is how long a pipe may stay open once vtysh itself is gone.
	lingering = time.Second
	// fed is the name by which vtysh opens the file that it is given: the first
	// descriptor after the standard three.
	fed = "/dev/fd/3"
)

// printed is how a run of vtysh ended. out may hold every key-string there is.
type printed struct {
	out, words []byte
	code       int
}

func (p *printed) wipe() {
	clear(p.out)
	clear(p.words)
}

// show runs commands that only look. It ends with ctx.
func (d *Device) show(ctx context.Context, commands ...string) (*printed, error) {
	var args []string
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return d.run(ctx, nil, args)
}

// feed has vtysh apply the lines of s. Once it has begun, a ctx that ends leaves it
// a moment to come to an end. The error is about vtysh that could not be run, or
// did not end: anything may have been applied then.
func (d *Device) feed(ctx context.Context, s *script) (*printed, error) {
	file, err := unnamed(s.text)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "write the commands for vtysh")
	}
	defer func() { _ = file.Close() }()
	if ctx.Err() != nil {
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "vtysh was not run")
	}
	limited, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	return d.run(limited, file, []string{"-f", fed})
}

// unnamed is a file that is readable by this user alone, and that stands in no
// directory, so that nothing is left of it whatever happens.
func unnamed(text []byte) (*os.File, error) {
	file, err := os.CreateTemp("", "keyorch-frr-") // mode 0600
	if err != nil {
		return nil, err
	}
	if err = os.Remove(file.Name()); err == nil {
		_, err = file.Write(text)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// run runs vtysh, connected to ospf6d alone: a key chain of the same name in
// another daemon is none of our business, and other daemons may be down.
func (d *Device) run(ctx context.Context, file *os.File, args []string) (*printed, error) {
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var base []string
	if d.pathspace != "" {
		base = append(base, "-N", d.pathspace)
	}
	if d.vtyDir != "" {
		base = append(base, "--vty_socket", d.vtyDir)
	}
	cmd := exec.CommandContext(limited, d.vtysh, append(append(base, "-d", daemon), args...)...)
	out, words := &capture{most: maxOutput, overflow: cancel}, &capture{most: maxWords}
	cmd.Stdout, cmd.Stderr = out, words
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = lingering
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	err := cmd.Run()
	p := &printed{out: out.kept, words: words.kept}
	var exit *exec.ExitError
	switch {
	case out.full:
		p.wipe()
		return nil, fault.New(fault.Unknown, "vtysh printed more than %d MiB", maxOutput>>20)
	case ctx.Err() != nil:
		p.wipe()
		return nil, fault.Wrap(fault.Unknown, ctx.Err(), "vtysh was stopped")
	case limited.Err() != nil:
		p.wipe()
		return nil, fault.New(fault.Unknown, "vtysh did not end within %v: does ospf6d hang", d.timeout)
	case errors.As(err, &exit):
		p.code = exit.ExitCode()
	case err != nil:
		p.wipe()
		return nil, notRun(err, d.vtysh)
	}
	return p, nil
}

// notRun is about vtysh that could not be started.
func notRun(err error, program string) error {
	for _, cause := range []error{exec.ErrNotFound, fs.ErrNotExist, fs.ErrPermission} {
		if errors.Is(err, cause) {
			return fault.Wrap(fault.Unavailable, cause, "run %s: is FRR installed here, and is this the field vtysh that you want", program)
		}
	}
	return fault.Wrap(fault.Unavailable, err, "run %s", program)
}

// capture keeps the beginning of what a program prints. What is kept is never
// copied without the copy being cleared.
type capture struct {
	most     int
	kept     []byte
	full     bool
	overflow func() // called when there is more than most; nil: the rest is thrown away
}

// Write implements io.Writer.
func (c *capture) Write(b []byte) (int, error) {
	room := min(c.most-len(c.kept), len(b))
	if cap(c.kept)-len(c.kept) < room {
		grown := make([]byte, len(c.kept), max(64<<10, 2*cap(c.kept), len(c.kept)+room))
		copy(grown, c.kept)
		clear(c.kept)
		c.kept = grown
	}
	c.kept = append(c.kept, b[:room]...)
	if room < len(b) && c.overflow != nil && !c.full {
		c.full = true
		c.overflow()
	}
	return len(b), nil
}

// unreached reports whether vtysh found no daemon to talk to, and so did nothing.
func (p *printed) unreached() bool {
	return p.code != 0 && bytes.Contains(p.words, []byte("failed to connect to any daemons"))
}
