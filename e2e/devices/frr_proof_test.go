//go:build devices

package devices_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
)

// frrPair is two FRRs that learn the way to each other's loopback address by
// OSPFv3, over an adjacency that is authenticated with key chain frr-a-b.
func frrPair(t *testing.T) (a, b *frrNode) {
	t.Helper()
	var nodes []*frrNode
	one, two := testbed.Pair(t, "frr")
	for i, at := range []testbed.Namespace{one, two} {
		at.Run(t, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
		nodes = append(nodes, newFRR(t, at, fmt.Sprintf(`frr defaults traditional
!
interface lo
 ipv6 ospf6 area 0
exit
!
interface %s
 ipv6 ospf6 area 0
 ipv6 ospf6 hello-interval 1
 ipv6 ospf6 dead-interval 4
 ipv6 ospf6 network point-to-point
 ipv6 ospf6 authentication keychain frr-a-b
exit
!
router ospf6
 ospf6 router-id 10.9.0.%d
exit
!
`, []string{"va", "vb"}[i], i+1)))
	}
	return nodes[0], nodes[1]
}

// frrTopology is the two as keyorch sees them: each sends and accepts.
func frrTopology(a, b *frrNode) string {
	return fmt.Sprintf(`
apiVersion: keyorch/v1
kind: Site
metadata: {name: frr-a}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: frr-b}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: frr-a}
spec:
  site: frr-a
  device: {kind: frr, pathspace: %s, links: {frr-a-b: {interface: va}}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: frr-b}
spec:
  site: frr-b
  device: {kind: frr, pathspace: %s, links: {frr-a-b: {interface: vb}}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: frr-a-b}
spec: {upstream: [frr-a, frr-b], downstream: [frr-a, frr-b], policy: proof}
`, a.at.Name, b.at.Name)
}

func TestFRRProof(t *testing.T) {
	testbed.Need(t, true, "frr", "iproute2")
	a, b := frrPair(t)
	proof.Run(t, proof.Shared(t), proof.Device{
		Kind: "frr", Topology: frrTopology(a, b),
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
