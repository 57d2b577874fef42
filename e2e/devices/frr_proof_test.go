//go:build devices

package devices_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
)

// frrPage is what operators read. What stands there is what runs here, with names
// that no other page has, the pathspaces and interfaces of the bed, and timers that
// show sooner that a neighbour is lost.
const frrPage = "../../docs/devices/frr.md"

// frrPair is the two routers of the page, on one cable.
func frrPair(t *testing.T) (a, b *frrNode) {
	t.Helper()
	var nodes []*frrNode
	one, two := testbed.Pair(t, "frr")
	for i, at := range []testbed.Namespace{one, two} {
		at.Run(t, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
		nodes = append(nodes, newFRR(t, at, strings.NewReplacer(
			"keychain backbone", "keychain frr-a-b", "eth1", frrInterface(i), "10.1.0.1", fmt.Sprintf("10.1.0.%d", i+1),
			"point-to-point", "point-to-point\n ipv6 ospf6 hello-interval 1\n ipv6 ospf6 dead-interval 4",
		).Replace(block(t, frrPage, "frr", 0))))
	}
	return nodes[0], nodes[1]
}

func frrInterface(i int) string { return []string{"va", "vb"}[i] }

// frrTopology is the topology of the page, with the policy of the script.
func frrTopology(t *testing.T, nodes ...*frrNode) string {
	t.Helper()
	documents, _, _ := strings.Cut(block(t, frrPage, "yaml", 0), "---\napiVersion: keyorch/v1\nkind: Policy\n")
	for i, n := range nodes {
		name := fmt.Sprintf("metadata: {name: r%d}\n", i+1)
		before, node, found := strings.Cut(documents, name)
		node, after, ends := strings.Cut(node, "\n---\n")
		if !found || !ends {
			t.Fatalf("the topology has no node r%d", i+1)
		}
		node = strings.NewReplacer("kind: frr", "kind: frr\n    pathspace: "+n.at.Name, "eth1", frrInterface(i)).Replace(node)
		documents = before + name + node + "\n---\n" + after
	}
	return strings.NewReplacer("backbone", "frr-a-b", "east", "frr-a", "west", "frr-b", "r1", "frr-a", "r2", "frr-b",
		"policy: routers", "policy: proof").Replace(documents)
}

func TestFRRProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	testbed.Need(t, true, "frr", "iproute2")
	a, b := frrPair(t)
	proof.Run(t, proof.Shared(t), proof.Device{
		Kind: "frr", Topology: frrTopology(t, a, b),
		Sites: []keychain.SiteID{"frr-a", "frr-b"}, Links: []keychain.LinkID{"frr-a-b"},
		Traffic: func(t *testing.T) []proof.Direction { return frrTraffic(t, a, b) },
		BreakInstall: func(t *testing.T) (mend func()) {
			// ospf6d goes on with the keys that it has; nobody can tell it a new one.
			away := b.socket() + ".away"
			rename(t, b.socket(), away)
			return func() { rename(t, away, b.socket()) }
		},
		Says:    "failed to connect to any daemons",
		Restart: func(*testing.T) { b.restart() },
		WrongOrder: func(*testing.T) {
			const never = "send-lifetime 00:00:00 Jan 1 1993 00:00:01 Jan 1 1993"
			lines := []string{"key chain frr-a-b", "key 300", never, "key-string nobody-else-has-it", "cryptographic-algorithm hmac-sha-256", "no send-lifetime"}
			for _, id := range a.keys("frr-a-b") {
				lines = append(lines, "key "+id, never)
			}
			a.configure(lines...)
		},
		Dropped: func(*testing.T) bool { return !b.full() },
	})
}

func frrTraffic(t *testing.T, a, b *frrNode) []proof.Direction {
	t.Helper()
	ends := []*frrNode{a, b}
	addresses := []netip.Addr{netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:1::2")}
	var all []proof.Direction
	for i, name := range []string{"a to b", "b to a"} {
		f, err := testbed.StartFlow(testbed.FlowSpec{
			From: ends[i].at, To: ends[1-i].at, FromAddress: addresses[i], ToAddress: addresses[1-i], Every: 2 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Stop() })
		all = append(all, proof.Direction{Name: name, Meter: f})
	}
	return all
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
