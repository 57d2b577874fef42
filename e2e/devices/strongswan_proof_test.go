//go:build devices

package devices_test

import (
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/strongswan"
	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
	"go.yaml.in/yaml/v3"
)

// tunnelTopology is the nth topology of the page, with the sockets of this bed and
// the policy of the script.
func tunnelTopology(t testing.TB, nth int, a, b *charonEnd) string {
	t.Helper()
	documents := block(t, strongswanPage, "yaml", nth)
	documents, _, _ = strings.Cut(documents, "---\napiVersion: keyorch/v1\nkind: Policy\n")
	for _, end := range []*charonEnd{a, b} {
		documents = strings.Replace(documents, "socket: "+strongswan.DefaultSocket+"\n", "socket: "+end.socket()+"\n", 1)
	}
	return strings.Replace(documents, "policy: tunnels", "policy: proof", 1)
}

// tunnelNode is the driver of a node of documents, for the wrong order.
func tunnelNode(t testing.TB, documents string, node keychain.NodeID) *strongswan.Device {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(documents))
	for {
		var doc struct {
			Metadata struct{ Name keychain.NodeID }
			Spec     struct{ Device map[string]any }
		}
		if err := decoder.Decode(&doc); err != nil {
			t.Fatalf("the topology has no node %s: %v", node, err)
		}
		if doc.Metadata.Name == node {
			delete(doc.Spec.Device, "kind")
			d, err := strongswan.New(node, doc.Spec.Device)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
}

// tunnelFlow is traffic through the tunnel, until the test's end.
func tunnelFlow(t testing.TB, from, to *charonEnd, fromAddress, toAddress string, every time.Duration) *testbed.Flow {
	t.Helper()
	f, err := testbed.StartFlow(testbed.FlowSpec{From: from.Namespace, To: to.Namespace, Every: every,
		FromAddress: netip.MustParseAddr(fromAddress), ToAddress: netip.MustParseAddr(toAddress)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Stop() })
	return f
}

// hide moves charon's socket away, so that nobody reaches it, and back.
func (e *charonEnd) hide(t testing.TB) (mend func()) {
	t.Helper()
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	away := e.socket() + ".away"
	move(e.socket(), away)
	return func() { move(away, e.socket()) }
}

// keyorchSA finds the name of an IKE SA of keyorch in what swanctl prints.
var keyorchSA = regexp.MustCompile(`keyorch\.[-a-z0-9]+\.e[0-9]+-[0-9a-f]{10}`)

func TestStrongswanProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := tunnelBed(t)
	documents := tunnelTopology(t, 0, a, b)
	const link keychain.LinkID = "branch-hub"
	proof.Run(t, proof.Shared(t), proof.Device{
		Kind: "strongswan", Topology: documents,
		Sites: []keychain.SiteID{"branch", "hub"}, Links: []keychain.LinkID{link},
		Traffic: func(t *testing.T) []proof.Direction {
			return []proof.Direction{
				{Name: "branch to hub", Meter: tunnelFlow(t, a, b, "10.1.0.1", "10.1.0.2", 2*time.Millisecond)},
				// The responder sends under the new SA from before its answer goes out, and
				// the initiator has it once the answer is in: that takes a few milliseconds.
				{Name: "hub to branch", Meter: tunnelFlow(t, b, a, "10.1.0.2", "10.1.0.1", 10*time.Millisecond), Tolerated: 1},
			}
		},
		BreakInstall: func(t *testing.T) (mend func()) { return b.hide(t) },
		Says:         "cannot reach charon at " + b.socket() + ": no such file or directory",
		Restart:      func(t *testing.T) { b.restart(t) },
		WrongOrder: func(t *testing.T) {
			// The new key first, and only at the sender. charon refuses, and the tunnel
			// stands: no packet is lost to this alone.
			sa := keychain.SA{Link: link, Ref: keychain.Ref{Epoch: 999}}
			err := tunnelNode(t, documents, "branch-gw").Upstream().Switch(t.Context(), sa, secrettest.New(t).Key)
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "AUTHENTICATION_FAILED") {
				t.Errorf("switch to a key that the responder lacks: %v (%v)", err, fault.Of(err))
			}
			// Whoever switches anyway ends the old tunnel.
			out, err := exec.Command("swanctl", "--list-sas", "--uri", "unix://"+a.socket()).Output()
			name := keyorchSA.Find(out)
			if err != nil || name == nil {
				t.Fatalf("there is no tunnel: %v\n%s", err, out)
			}
			if err := a.swanctl("--terminate", "--ike", string(name)); err != nil {
				t.Fatal(err)
			}
		},
	})
}
