package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// deviceAt is a node that initiates a-b, and responds on b-a.
func deviceAt(t *testing.T, socket string) *Device {
	t.Helper()
	fields := with(nil)
	fields["socket"] = socket
	fields["links"].(map[string]any)["b-a"] = nil
	d, err := New("r1", fields)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// listen answers connections on a socket with f.
func listen(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "vici")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	return socket
}

// operations are all that may be asked of d.
func operations(t *testing.T, d *Device, c secrettest.Canary) map[string]func(context.Context) error {
	t.Helper()
	up := keychain.SA{Link: "a-b", Ref: keychain.Ref{Epoch: 4}}
	down := keychain.SA{Link: "b-a", Ref: keychain.Ref{Epoch: 4}}
	return map[string]func(context.Context) error{
		"switch":  func(ctx context.Context) error { return d.Upstream().Switch(ctx, up, c.Key) },
		"install": func(ctx context.Context) error { return d.Downstream().Install(ctx, down, c.Key) },
		"remove":  func(ctx context.Context) error { return d.Downstream().Remove(ctx, down) },
		"observe up": func(ctx context.Context) error {
			_, err := d.Upstream().Observe(ctx, up.Link)
			return err
		},
		"observe down": func(ctx context.Context) error {
			_, err := d.Downstream().Observe(ctx, down.Link)
			return err
		},
	}
}

func TestACharonThatIsAwayIsUnavailable(t *testing.T) {
	c := secrettest.New(t)
	missing := filepath.Join(t.TempDir(), "charon.vici")
	rude := listen(t, func(c net.Conn) { _ = c.Close() })
	for socket, want := range map[string]string{
		missing: "cannot reach charon at " + missing + ": no such file or directory",
		rude:    "ask charon at " + rude + " for its ",
	} {
		for name, op := range operations(t, deviceAt(t, socket), c) {
			err := op(t.Context())
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: %v (%v), want %q", name, err, fault.Of(err), want)
			}
			c.Absent(t, "an error", fmt.Sprint(err))
		}
	}
}

func TestACharonThatSaysNothingIsLeftWithItsContext(t *testing.T) {
	socket := listen(t, func(c net.Conn) { <-t.Context().Done() })
	for name, op := range operations(t, deviceAt(t, socket), secrettest.New(t)) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		err := op(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !fault.Of(err).Retryable() || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %v (%v) after %v", name, err, fault.Of(err), time.Since(began))
		}
	}
}

func TestACharonThatSaysNothingIsGivenUp(t *testing.T) {
	d := deviceAt(t, listen(t, func(c net.Conn) { <-t.Context().Done() }))
	d.timeout = 10 * time.Millisecond
	for name, op := range operations(t, d, secrettest.New(t)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := op(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "no answer within 1.01s") {
				t.Errorf("%v (%v)", err, fault.Of(err))
			}
		})
	}
}

func TestALinkWithoutParametersIsInvalid(t *testing.T) {
	d := deviceAt(t, "/nowhere")
	c := secrettest.New(t)
	sa := keychain.SA{Link: "b-c", Ref: keychain.Ref{Epoch: 4}}
	_, up := d.Upstream().Observe(t.Context(), "b-c")
	_, down := d.Downstream().Observe(t.Context(), "b-c")
	for _, err := range []error{
		up, down, d.Upstream().Switch(t.Context(), sa, c.Key), d.Downstream().Install(t.Context(), sa, c.Key), d.Downstream().Remove(t.Context(), sa),
	} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), "device.links.b-c") {
			t.Errorf("%v (%v)", err, fault.Of(err))
		}
	}
	sa.Link = "b-a"
	if err := d.Upstream().Switch(t.Context(), sa, c.Key); !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), "links.b-a.connection") {
		t.Errorf("switch where the node responds: %v (%v)", err, fault.Of(err))
	}
}

func TestAKeyThatIsNotTheOneNamedIsNotLoaded(t *testing.T) {
	d := deviceAt(t, "/nowhere")
	c := secrettest.New(t)
	sa := keychain.SA{Link: "b-a", Ref: keychain.Ref{Epoch: 4, KCV: "00000000ff"}}
	if err := d.Downstream().Install(t.Context(), sa, c.Key); !fault.Is(err, fault.Mismatch) {
		t.Errorf("install: %v (%v)", err, fault.Of(err))
	}
	sa.Link = "a-b"
	if err := d.Upstream().Switch(t.Context(), sa, c.Key); !fault.Is(err, fault.Mismatch) {
		t.Errorf("switch: %v (%v)", err, fault.Of(err))
	}
}
