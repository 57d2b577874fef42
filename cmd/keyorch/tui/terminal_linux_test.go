package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	tea "charm.land/bubbletea/v2"
)

// ioctl asks the kernel something about a terminal.
func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		t.Fatalf("ioctl %x: %v", request, errno)
	}
}

// terminal is a real one, a pty: the test sits at the keyboard.
type terminal struct {
	t        *testing.T
	keyboard *os.File // and screen
	line     *os.File // what the program has
	mu       sync.Mutex
	shown    bytes.Buffer
	more     chan struct{}
	settings syscall.Termios
}

func newTerminal(t *testing.T, w, h uint16) *terminal {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	var number uint32
	var unlock int32
	ioctl(t, keyboard, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, keyboard, syscall.TIOCGPTN, unsafe.Pointer(&number))
	line, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = io.WriteString(keyboard, "\n") // whoever still reads shall end
		_ = line.Close()
	})
	x := &terminal{t: t, keyboard: keyboard, line: line, more: make(chan struct{}, 1)}
	x.resize(w, h)
	x.settings = x.now()
	go x.watch()
	return x
}

// tty is the line for the program, without a name: with one the library reads it
// by epoll, and closes that while its reader may still look at it, which the race
// detector sees.
type tty struct{ f *os.File }

func (y tty) Fd() uintptr                 { return y.f.Fd() }
func (y tty) Read(b []byte) (int, error)  { return y.f.Read(b) }
func (y tty) Write(b []byte) (int, error) { return y.f.Write(b) }
func (y tty) Close() error                { return nil }

func (x *terminal) resize(w, h uint16) {
	ioctl(x.t, x.line, syscall.TIOCSWINSZ, unsafe.Pointer(&[4]uint16{h, w}))
}

func (x *terminal) now() (s syscall.Termios) {
	ioctl(x.t, x.line, syscall.TCGETS, unsafe.Pointer(&s))
	return s
}

func (x *terminal) watch() {
	buf := make([]byte, 4096)
	for {
		n, err := x.keyboard.Read(buf)
		x.mu.Lock()
		x.shown.Write(buf[:n])
		x.mu.Unlock()
		select {
		case x.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (x *terminal) all() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.shown.String()
}

// waitFor waits until the program has written text.
func (x *terminal) waitFor(text string) {
	x.t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !strings.Contains(x.all(), text) {
		select {
		case <-x.more:
		case <-limit.C:
			x.t.Fatalf("%q was never shown, but %q", text, x.all())
		}
	}
}

func (x *terminal) types(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.keyboard, keys); err != nil {
		x.t.Fatal(err)
	}
}

const (
	enterAlt, leaveAlt   = "\x1b[?1049h", "\x1b[?1049l"
	hideCursor, showOnce = "\x1b[?25l", "\x1b[?25h"
)

// leftOver is what the program did not put back.
func (x *terminal) leftOver() []string {
	var bad []string
	shown := x.all()
	for _, pair := range [][2]string{{enterAlt, leaveAlt}, {hideCursor, showOnce}, {"\x1b[?2004h", "\x1b[?2004l"}} {
		if on, off := strings.LastIndex(shown, pair[0]), strings.LastIndex(shown, pair[1]); on > off {
			bad = append(bad, fmt.Sprintf("%q without %q", pair[0], pair[1]))
		}
	}
	if x.now() != x.settings {
		bad = append(bad, "the line is not set as it was")
	}
	return bad
}

// exploding panics when it is asked for the second time, or for a reason.
type exploding struct {
	fakeSource
	screens bool
}

func (e *exploding) Screen(ctx context.Context) (Screen, error) {
	if e.screens && e.asked > 0 {
		panic("the source is broken")
	}
	return e.fakeSource.Screen(ctx)
}

func (e *exploding) Why(context.Context, string) (string, error) { panic("the answer is broken") }

func TestTheTerminalIsLeftAsItWas(t *testing.T) {
	good := &fakeSource{screen: runningScreen()}
	for _, c := range []struct {
		name   string
		source Source
		leave  func(*terminal, context.CancelFunc)
		fails  error
	}{
		{"on q", good, func(x *terminal, _ context.CancelFunc) { x.types("q") }, nil},
		{"on ctrl+c", good, func(x *terminal, _ context.CancelFunc) { x.types("\x03") }, nil},
		{"while a reason is typed", good, func(x *terminal, end context.CancelFunc) {
			x.types("pbgp")
			x.waitFor("Reason for the pause")
			end()
		}, nil},
		{"when the context ends", good, func(_ *terminal, end context.CancelFunc) { end() }, nil},
		{"when the source panics", &exploding{fakeSource{screen: runningScreen()}, true}, func(*terminal, context.CancelFunc) {}, tea.ErrProgramPanic},
		{"when an answer panics", &exploding{fakeSource{screen: runningScreen()}, false}, func(x *terminal, _ context.CancelFunc) { x.types("\r") }, tea.ErrProgramPanic},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newTerminal(t, 80, 24)
			ctx, end := context.WithCancel(t.Context())
			defer end()
			ended := make(chan error, 1)
			go func() {
				ended <- run(ctx, c.source, &fakeActions{}, tea.WithInput(tty{x.line}), tea.WithOutput(tty{x.line}), tea.WithEnvironment([]string{"TERM=xterm-256color"}))
			}()
			x.waitFor("bergen-oslo-001")
			if len(x.leftOver()) < 3 {
				t.Error("the check cannot fail:", x.leftOver())
			}
			c.leave(x, end)
			var err error
			select {
			case err = <-ended:
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			if !errors.Is(err, c.fails) {
				t.Errorf("it ends with %v, not %v", err, c.fails)
			}
			x.waitFor(leaveAlt)
			x.waitFor(showOnce)
			if bad := x.leftOver(); len(bad) > 0 {
				t.Error(bad)
			}
		})
	}
}

func TestAnOperatorAtATerminal(t *testing.T) {
	x := newTerminal(t, 80, 24)
	a := &fakeActions{}
	ended := make(chan error, 1)
	go func() {
		ended <- run(t.Context(), &fakeSource{screen: runningScreen()}, a, tea.WithInput(tty{x.line}), tea.WithOutput(tty{x.line}),
			tea.WithEnvironment([]string{"TERM=xterm", "NO_COLOR=1"}))
	}()
	x.waitFor("bergen-oslo-003")
	x.types("j\r")
	x.waitFor("why bergen-oslo-002")
	x.types("\x1b[A") // an arrow in the pane
	x.types("p")
	x.waitFor("Reason for the pause")
	x.types("bgp down\r")
	x.waitFor("nightly-20260412: bgp down") // what has changed of the line
	x.types("q")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if want := []string{"pause nightly-20260412 bgp down"}; !slices.Equal(a.did, want) {
		t.Errorf("it did %q", a.did)
	}
	for _, color := range []string{"\x1b[31", "\x1b[32", "\x1b[33", "\x1b[36"} {
		if strings.Contains(x.all(), color) {
			t.Errorf("NO_COLOR, and yet %q", color)
		}
	}
}
