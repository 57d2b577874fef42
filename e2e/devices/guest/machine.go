package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/guest/protocol"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

const (
	// bootLimit is how long a boot may take. It takes 6 to 10 s on an idle machine.
	bootLimit = 40 * time.Second
	// boots is how often a boot is tried: a machine now and then does not come up.
	boots = 2
)

// machine is one QEMU process, from power on to power off.
type machine struct {
	cmd     *exec.Cmd
	done    chan struct{}
	address string // of guestd, on the host's loopback
}

// boot turns a machine on and waits until guestd answers.
func (g *Guest) boot(ctx context.Context) error {
	var failed error
	for range boots {
		m, err := g.powerOn()
		if err != nil {
			return err
		}
		g.machine = m
		if failed = m.await(ctx); failed == nil {
			return nil
		}
		m.powerOff()
		failed = fmt.Errorf("%w\nits console:\n%s", failed, testbed.Tail(g.console(), 2000))
	}
	return fmt.Errorf("boot the guest: %w", failed)
}

func (g *Guest) console() string { return filepath.Join(g.dir, "console.log") }

// powerOn starts QEMU. It always emulates: where /dev/kvm can be opened but does
// not work, a kernel hangs before its first message.
func (g *Guest) powerOn() (*machine, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	m := &machine{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), done: make(chan struct{})}
	m.cmd = exec.Command("qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-M", "pc", "-m", strconv.Itoa(g.memory), "-smp", "1",
		"-display", "none", "-no-reboot", "-nodefaults", "-serial", "file:"+g.console(),
		"-nic", fmt.Sprintf("user,model=virtio-net-pci,hostfwd=tcp:%s-:%d", m.address, protocol.Port),
		"-drive", "if=virtio,format=raw,file="+g.disk(),
		"-kernel", g.kernel.image(), "-initrd", g.initramfs(),
		"-append", "console=ttyS0 panic=-1 quiet mitigations=off")
	complaints, err := os.Create(filepath.Join(g.dir, "qemu.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = complaints.Close() }() // the child has its own
	m.cmd.Stdout, m.cmd.Stderr = complaints, complaints
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is about the thread that started it
		defer runtime.UnlockOSThread()
		err := m.cmd.Start()
		started <- err
		if err == nil {
			_ = m.cmd.Wait() // a machine is killed, or has powered off
		}
		close(m.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start qemu: %w", err)
	}
	return m, nil
}

// await waits for guestd. QEMU accepts connections before the guest listens, so
// that each try has to be short.
func (m *machine) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, time.Second)
		_, err := call[protocol.Empty](try, m, protocol.Ping, protocol.Empty{})
		done()
		if err == nil {
			_, err = call[protocol.Empty](ctx, m, protocol.Clock, protocol.Time{Now: time.Now()})
			return err
		}
		select {
		case <-m.done:
			return errors.New("qemu ended")
		case <-ctx.Done():
			return fmt.Errorf("no answer within %v: %w", bootLimit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// powerOff pulls the plug.
func (m *machine) powerOff() {
	select {
	case <-m.done:
	default:
		_ = m.cmd.Process.Kill()
		<-m.done
	}
	http.DefaultClient.CloseIdleConnections()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
