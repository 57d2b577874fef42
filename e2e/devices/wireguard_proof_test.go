//go:build devices

package devices_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
)

// wgPage is what operators read. What stands there is what runs here, with the
// addresses, names and keys of the bed.
const wgPage = "../../docs/devices/wireguard.md"

// gateway is one end of the tunnel of the page.
type gateway struct {
	end   int
	names [2]string // of its interfaces
	own   wgKey
	peer  string
	netns string
	dir   string // where its keys are
	// sh runs a script in its namespace.
	sh func(t testing.TB, script string, args ...string) string
	// daemons are its wireguard-go by interface; nil where the kernel carries the
	// tunnel.
	daemons map[string]*testbed.Process
	at      testbed.Namespace
}

func (g *gateway) address() string { return fmt.Sprintf("10.20.0.%d", g.end+1) }
func (g *gateway) other() string   { return fmt.Sprintf("10.20.0.%d", 2-g.end) }

// page is the nth script of the page, at this end.
func (g *gateway) page(t testing.TB, nth int) string {
	script := strings.NewReplacer(
		"198.51.100.2", fmt.Sprintf("10.9.0.%d", 2-g.end), "10.20.0.1", g.address(), "10.20.0.2", g.other(),
		"/etc/wireguard/private.key", filepath.Join(g.dir, "private.key"), "/etc/wireguard/peer.pub", filepath.Join(g.dir, "peer.pub"),
	).Replace(block(t, wgPage, "sh", nth))
	if g.daemons != nil {
		script = strings.Replace(script, "ip link add $name type wireguard", ": it runs already", 1)
	}
	return script
}

// boot is what the operator has the machine do at each boot.
func (g *gateway) boot(t testing.TB) {
	t.Helper()
	once, _, _ := strings.Cut(g.page(t, 1), "tunnel-slot")
	g.sh(t, once)
	for slot := range g.names {
		g.makeSlot(t, slot)
	}
}

// makeSlot makes one interface, as the page does.
func (g *gateway) makeSlot(t testing.TB, slot int) {
	t.Helper()
	name := g.names[slot]
	if g.daemons != nil {
		socket := filepath.Join(wgSockets, name+".sock")
		_ = os.Remove(socket)
		g.daemons[name] = g.at.Start(t, filepath.Join(g.dir, name+".log"), []string{"LOG_LEVEL=error"}, "wireguard-go", "-f", name)
		t.Cleanup(func() { _ = os.Remove(socket) })
		testbed.Until(t, 10*time.Second, "wireguard-go of "+name+" has its socket", func() bool {
			_, err := os.Stat(socket)
			return err == nil
		})
	}
	g.sh(t, g.page(t, 0), name, fmt.Sprint(51820+slot))
}

// endSlot takes one interface away: its wireguard-go is killed, or it is deleted.
func (g *gateway) endSlot(t testing.TB, slot int) {
	t.Helper()
	if g.daemons == nil {
		g.sh(t, "ip link del "+g.names[slot])
		return
	}
	g.daemons[g.names[slot]].Kill()
}

// free is the slot without a key.
func (g *gateway) free(t testing.TB) int {
	t.Helper()
	for slot, name := range g.names {
		if strings.TrimSpace(g.sh(t, "cat /sys/class/net/"+name+"/ifalias")) == "" {
			return slot
		}
	}
	t.Fatal("both slots have a key")
	return 0
}

// wgTopology is that of the page, for these gateways and with the policy of the
// script.
func wgTopology(t testing.TB, gateways [2]*gateway, prefix string) string {
	documents, _, _ := strings.Cut(block(t, wgPage, "yaml", 0), "---\napiVersion: keyorch/v1\nkind: Policy\n")
	for i, node := range []string{"bern-gw", "oslo-gw"} {
		before, rest, found := strings.Cut(documents, "metadata: {name: "+node+"}\n")
		spec, after, ends := strings.Cut(rest, "\n---\n")
		was := []string{"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="}[i]
		if !found || !ends || !strings.Contains(spec, was) {
			t.Fatalf("the topology has no node %s with its peer", node)
		}
		g := gateways[i]
		spec = strings.NewReplacer(was, g.peer, "[wg0a, wg0b]", fmt.Sprintf("[%s, %s]", g.names[0], g.names[1]),
			"kind: wireguard\n", "kind: wireguard\n    netns: "+g.netns+"\n").Replace(spec)
		documents = before + "metadata: {name: " + node + "}\n" + spec + "\n---\n" + after
	}
	documents = strings.NewReplacer("policy: tunnels", "policy: proof", "bern", prefix+"bern", "oslo", prefix+"oslo").Replace(documents)
	return strings.ReplaceAll(documents, "bern-"+prefix+"oslo", "bern-oslo")
}

// wgProof is what both proofs have in common.
func wgProof(t *testing.T, gateways [2]*gateway, kind, prefix string) proof.Device {
	bern, oslo := gateways[0], gateways[1]
	link := keychain.LinkID(prefix + "bern-oslo")
	return proof.Device{
		Kind: kind, Topology: wgTopology(t, gateways, prefix),
		Sites: []keychain.SiteID{keychain.SiteID(prefix + "bern"), keychain.SiteID(prefix + "oslo")}, Links: []keychain.LinkID{link},
		BreakInstall: func(t *testing.T) (mend func()) {
			slot := oslo.free(t)
			oslo.endSlot(t, slot)
			return func() {
				t.Logf("the operator reads:\n%s", proof.Shared(t).Verb(t, 0, "why", string(link)).Out)
				oslo.makeSlot(t, slot)
			}
		},
		Says: " does not exist: make it, with its private key, port, addresses and peer",
		WrongOrder: func(t *testing.T) {
			// The new key first, and only at one end.
			bern.sh(t, fmt.Sprintf(`wg genpsk >%[1]s/psk; wg set %[2]s peer %[3]s preshared-key %[1]s/psk; rm %[1]s/psk
ip link set %[2]s up; ip route replace %[4]s/32 dev %[2]s src %[5]s`, bern.dir, bern.names[bern.free(t)], bern.peer, bern.other(), bern.address()))
		},
	}
}

// TestWireguardProof proves two gateways with wireguard-go, in a namespace each.
func TestWireguardProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	testbed.Need(t, true, "wireguard-go", "wireguard-tools")
	keys := [2]wgKey{newWGKey(t), newWGKey(t)}
	var gateways [2]*gateway
	a, b := testbed.Pair(t, "wgp")
	for end, at := range []testbed.Namespace{a, b} {
		g := &gateway{end: end, own: keys[end], peer: keys[1-end].public, netns: at.Name, at: at, dir: t.TempDir(), daemons: map[string]*testbed.Process{}}
		g.sh = func(t testing.TB, script string, args ...string) string {
			t.Helper()
			return at.Run(t, append([]string{"sh", "-ec", script, "sh"}, args...)...)
		}
		for slot := range g.names { // unique on the host
			g.names[slot] = fmt.Sprintf("p%s%d%c", []string{"a", "b"}[end], os.Getpid(), 'a'+slot)
		}
		g.sh(t, `umask 077; echo "$1" >"$3/private.key"; echo "$2" >"$3/peer.pub"`, g.own.private, g.peer, g.dir)
		g.boot(t)
		gateways[end] = g
	}
	d := wgProof(t, gateways, "wireguard-go", "wg-")
	d.Traffic = func(t *testing.T) []proof.Direction {
		flow := func(from, to *gateway) *testbed.Flow {
			f, err := testbed.StartFlow(testbed.FlowSpec{From: from.at, To: to.at, Every: 2 * time.Millisecond,
				FromAddress: netip.MustParseAddr(from.address()), ToAddress: netip.MustParseAddr(to.address())})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Stop() })
			return f
		}
		return []proof.Direction{
			{Name: "bern to oslo", Meter: flow(gateways[0], gateways[1])},
			{Name: "oslo to bern", Meter: flow(gateways[1], gateways[0])},
		}
	}
	d.Restart = func(t *testing.T) {
		for slot := range gateways[1].names {
			gateways[1].endSlot(t, slot)
		}
		for slot := range gateways[1].names {
			gateways[1].makeSlot(t, slot)
		}
	}
	proof.Run(t, proof.Shared(t), d)
}

// TestWireguardKernelProof proves the WireGuard of the kernel, in a guest.
func TestWireguardKernelProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Guests)
	keys := [2]wgKey{newWGKey(t), newWGKey(t)}
	m := &wgMachine{guestBed: newGuestBed(t, []string{"veth", "wireguard"}, [2]keychain.SiteID{"bern", "oslo"})}
	for end := range m.gateways {
		netns := []string{"a", "b"}[end]
		m.gateways[end] = &gateway{
			end: end, own: keys[end], peer: keys[1-end].public, netns: netns, dir: "/disk/keep/" + netns, names: [2]string{"wg0a", "wg0b"},
			sh: func(t testing.TB, script string, args ...string) string {
				t.Helper()
				return m.guest.Run(t, append([]string{"ip", "netns", "exec", netns, "dash", "-ec", script, "sh"}, args...)...)
			},
		}
		m.at[end] = netip.MustParseAddr(m.gateways[end].address())
	}
	m.boot(t)
	d := wgProof(t, m.gateways, "wireguard", "")
	d.Agents, d.Traffic = m.startAgents, m.traffic
	d.Restart = func(t *testing.T) {
		m.guest.Restart(t)
		m.boot(t)
		m.startAgents(t)
		m.startTraffic(t)
	}
	proof.Run(t, m.stack, d)
}

// wgMachine is a guest with both gateways.
type wgMachine struct {
	*guestBed
	gateways [2]*gateway
}

func (m *wgMachine) boot(t *testing.T) {
	t.Helper()
	m.guest.Pair(t)
	for _, g := range m.gateways {
		m.guest.WriteFile(t, filepath.Join(g.dir, "private.key"), g.own.private, 0o600)
		m.guest.WriteFile(t, filepath.Join(g.dir, "peer.pub"), g.peer, 0o600)
		g.boot(t)
	}
}
