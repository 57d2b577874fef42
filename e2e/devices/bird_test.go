//go:build devices

package devices_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/bird"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// router is one BIRD, in a namespace.
type router struct {
	t       testing.TB
	at      testbed.Namespace
	dir     string // its configuration, and the folder "keys" with the included files
	process *testbed.Process
}

// newRouter starts a BIRD with the configuration that conf makes of the directory
// with the included files, which are empty for these links.
func newRouter(t testing.TB, at testbed.Namespace, conf func(keys string) string, links ...string) *router {
	t.Helper()
	testbed.Need(t, true, "bird2")
	r := &router{t: t, at: at, dir: t.TempDir()}
	if err := os.Mkdir(r.keys(), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		for _, ext := range []string{".ospf", ".bfd", ".keys"} {
			if err := os.WriteFile(filepath.Join(r.keys(), link+ext), nil, 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.configure(conf(r.keys()))
	r.start()
	return r
}

func (r *router) keys() string   { return filepath.Join(r.dir, "keys") }
func (r *router) conf() string   { return filepath.Join(r.dir, "bird.conf") }
func (r *router) socket() string { return filepath.Join(r.dir, "bird.ctl") }
func (r *router) log() string    { return filepath.Join(r.dir, "bird.log") }

func (r *router) configure(conf string) {
	r.t.Helper()
	if err := os.WriteFile(r.conf(), []byte(conf), 0o640); err != nil {
		r.t.Fatal(err)
	}
}

func (r *router) start() {
	r.t.Helper()
	r.process = r.at.Start(r.t, r.log(), nil, "bird", "-f", "-c", r.conf(), "-s", r.socket(), "-P", filepath.Join(r.dir, "bird.pid"))
	testbed.Until(r.t, 10*time.Second, "bird answers", func() bool {
		conn, err := net.Dial("unix", r.socket())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (r *router) restart() {
	r.t.Helper()
	r.process.Kill()
	r.start()
}

// birdc runs a command of the operator.
func (r *router) birdc(command string) string {
	r.t.Helper()
	return r.at.Run(r.t, "birdc", "-s", r.socket(), command)
}

// eightLinks is a configuration with the interfaces of the conformance links, which
// need not be there: BIRD reads their passwords all the same.
func eightLinks(keys string) string {
	var constants, areas, sessions strings.Builder
	for i, link := range conformanceLinks() {
		fmt.Fprintf(&constants, "include \"%s/%s.keys\";\n", keys, link)
		fmt.Fprintf(&areas, "interface \"x%d\" {\n authentication cryptographic;\n include \"%s/%s.ospf\";\n};\n", i, keys, link)
		fmt.Fprintf(&sessions, "interface \"x%d\" {\n authentication meticulous keyed sha1;\n include \"%s/%s.bfd\";\n};\n", i, keys, link)
	}
	return "log stderr all;\nrouter id 10.9.0.1;\n" + constants.String() +
		"protocol device { }\nprotocol ospf v2 { ipv4 { }; area 0 {\n" + areas.String() + "}; }\nprotocol bfd {\n" + sessions.String() + "}\n"
}

func conformanceLinks() []string {
	links := []string{"conformance"}
	for i := range 8 {
		links = append(links, fmt.Sprintf("link-%d", i))
	}
	return links
}

// troubled is a BIRD behind a proxy for each of the commands that matter.
type troubled struct {
	*router
	*bird.Device
	check, load, confirm *testbed.Proxy
}

func newTroubled(t *testing.T) troubled {
	t.Helper()
	r := newRouter(t, testbed.NewNamespace(t, "bird"), eightLinks, conformanceLinks()...)
	at := func(n int) string { return filepath.Join(r.dir, fmt.Sprintf("front%d.ctl", n)) }
	links := make(map[string]any)
	for _, link := range conformanceLinks() {
		links[link] = nil
	}
	d, err := bird.New("n1", map[string]any{"socket": at(3), "directory": r.keys(), "links": links})
	if err != nil {
		t.Fatal(err)
	}
	return troubled{
		router: r, Device: d,
		confirm: testbed.NewProxy(t, "unix", at(1), r.socket(), "configure confirm"),
		load:    testbed.NewProxy(t, "unix", at(2), at(1), "configure timeout"),
		check:   testbed.NewProxy(t, "unix", at(3), at(2), "configure check"),
	}
}

func (x troubled) logs() string { return testbed.Tail(x.log(), 1<<20) }

func TestBirdConformanceUpstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		x := newTroubled(t)
		return upstreamtest.Fixture{
			Device: x.Upstream(), FailNext: x.check.FailNext, HangNext: x.load.HangNext, LoseNext: x.confirm.LoseNext,
			Reboot: x.restart, Logs: x.logs,
		}
	})
}

func TestBirdConformanceDownstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
		x := newTroubled(t)
		return downstreamtest.Fixture{
			Device: x.Downstream(), FailNext: x.check.FailNext, HangNext: x.load.HangNext, LoseNext: x.confirm.LoseNext,
			Reboot: x.restart, Logs: x.logs,
			Send: x.Upstream().Switch,
			Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
				o, err := x.Upstream().Observe(ctx, link)
				return o.Sends, err
			},
		}
	})
}
