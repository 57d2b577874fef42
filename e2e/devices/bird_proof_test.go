//go:build devices

package devices_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/bird"
	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// birdPage is what operators read. What stands there is what runs here, with the
// paths and the interfaces of the bed.
const birdPage = "../../docs/devices/bird.md"

const backbone keychain.LinkID = "backbone"

// backbonePair is the two routers of the page, on one cable.
func backbonePair(t testing.TB) (a, b *router) {
	t.Helper()
	atA, atB := testbed.Pair(t, "bird")
	conf := func(id, iface string) func(string) string {
		return func(keys string) string {
			return strings.NewReplacer("log syslog", "log stderr", "/etc/bird/keyorch", keys, `"eth1"`, `"`+iface+`"`, "10.1.0.1", id).
				Replace(block(t, birdPage, "bird", 0))
		}
	}
	return newRouter(t, atA, conf("10.1.0.1", "va"), "backbone"), newRouter(t, atB, conf("10.1.0.2", "vb"), "backbone")
}

// backboneTopology is the topology of the page, with the policy of the script.
func backboneTopology(t testing.TB, a, b *router) string {
	t.Helper()
	documents, _, _ := strings.Cut(block(t, birdPage, "yaml", 0), "---\napiVersion: keyorch/v1\nkind: Policy\n")
	for r, iface := range map[*router]string{a: "va", b: "vb"} {
		name := map[*router]string{a: "r1", b: "r2"}[r]
		before, node, found := strings.Cut(documents, "metadata: {name: "+name+"}\nspec:\n")
		node, after, ends := strings.Cut(node, "\n---\n")
		if !found || !ends {
			t.Fatalf("the topology has no node %s", name)
		}
		node = strings.NewReplacer(bird.DefaultSocket, r.socket(), bird.DefaultDirectory, r.keys(), "eth1", iface).Replace(node)
		documents = before + "metadata: {name: " + name + "}\nspec:\n" + node + "\n---\n" + after
	}
	return strings.Replace(documents, "policy: routers", "policy: proof", 1)
}

// driver is the driver of a router of the backbone, for what keyorch would not do.
func (r *router) driver(t testing.TB) *bird.Device {
	t.Helper()
	d, err := bird.New("r", map[string]any{"socket": r.socket(), "directory": r.keys(), "links": map[string]any{string(backbone): nil}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// up reports whether OSPF and BFD have their neighbour.
func (r *router) up() bool {
	return strings.Contains(r.birdc("show bfd sessions"), " Up ") && strings.Contains(r.birdc("show ospf neighbors"), "Full")
}

// breakConfiguration leaves a line in bird.conf as a hand that slipped would.
func (r *router) breakConfiguration(t testing.TB) (mend func()) {
	t.Helper()
	whole, err := os.ReadFile(r.conf())
	if err != nil {
		t.Fatal(err)
	}
	r.configure(string(whole) + "protocol statc { }\n")
	return func() { r.configure(string(whole)) }
}

// editPasswords writes other passwords over those of the link, and has BIRD take
// them.
func (r *router) editPasswords(t testing.TB) {
	t.Helper()
	for _, ext := range []string{".ospf", ".bfd"} {
		path := filepath.Join(r.keys(), string(backbone)+ext)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = regexp.MustCompile(`password "[^"]*"`).ReplaceAll(text, []byte(`password "by-hand"`))
		if err := os.WriteFile(path, text, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if said := r.birdc("configure"); !strings.Contains(said, "Reconfigured") {
		t.Fatalf("configure: %s", said)
	}
}

func TestBirdProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := backbonePair(t)
	proof.Run(t, proof.Shared(t), proof.Device{
		Kind: "bird", Topology: backboneTopology(t, a, b),
		Sites: []keychain.SiteID{"east", "west"}, Links: []keychain.LinkID{backbone},
		Traffic: func(t *testing.T) []proof.Direction {
			flow := func(from, to *router, fromAddress, toAddress string) *testbed.Flow {
				f, err := testbed.StartFlow(testbed.FlowSpec{From: from.at, To: to.at, Every: 2 * time.Millisecond,
					FromAddress: netip.MustParseAddr(fromAddress), ToAddress: netip.MustParseAddr(toAddress)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { f.Stop() })
				return f
			}
			return []proof.Direction{
				{Name: "east to west", Meter: flow(a, b, "10.1.0.1", "10.1.0.2")},
				{Name: "west to east", Meter: flow(b, a, "10.1.0.2", "10.1.0.1")},
			}
		},
		BreakInstall: func(t *testing.T) (mend func()) { return b.breakConfiguration(t) },
		Says:         "bird refuses its configuration: " + b.conf() + ":",
		Restart:      func(*testing.T) { b.restart() },
		WrongOrder: func(t *testing.T) {
			// The new key first, and only at one router: BIRD takes it back when BFD is lost.
			sa := keychain.SA{Link: backbone, Ref: keychain.Ref{Epoch: 999}, Serial: 99}
			err := a.driver(t).Upstream().Switch(t.Context(), sa, secrettest.New(t).Key)
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "was lost by the change") {
				t.Errorf("switch to a key that the neighbour lacks: %v (%v)", err, fault.Of(err))
			}
			a.editPasswords(t) // nothing takes that back but an agent
		},
		Dropped: func(*testing.T) bool { return !a.up() },
	})
}
