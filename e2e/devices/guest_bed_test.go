//go:build devices

package devices_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/guest"
	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
)

// guestBed is what the proofs in a guest share: two ends, in the namespaces a and b
// of one kernel, with the agent of a site at each.
type guestBed struct {
	stack  *proof.Stack
	guest  *guest.Guest
	sites  [2]keychain.SiteID // of a, of b
	at     [2]netip.Addr      // where traffic ends
	agents []*guest.Process
	meters [2]guest.Meter // from a, from b
}

// newGuestBed boots a guest. at are the addresses between which traffic goes.
func newGuestBed(t *testing.T, modules []string, sites [2]keychain.SiteID, at ...string) *guestBed {
	t.Helper()
	b := &guestBed{stack: proof.Shared(t), sites: sites}
	for i, a := range at {
		b.at[i] = netip.MustParseAddr(a)
	}
	b.guest = guest.Start(t, guest.Options{Programs: map[string]string{"keyorch": b.stack.Keyorch}, Modules: modules, Memory: 768})
	return b
}

// startAgents starts the agents in the guest; their journals are on its disk.
func (b *guestBed) startAgents(t *testing.T) (stop func()) {
	t.Helper()
	b.agents = nil
	for _, site := range b.sites {
		var env []string
		testbed.Until(t, 10*time.Second, "the site has an identity", func() (ok bool) {
			var err error
			env, err = b.stack.Env("agent." + string(site))
			return err == nil
		})
		b.agents = append(b.agents, b.guest.Spawn(t, "agent-"+string(site), b.guest.HostEnv(t, env),
			"keyorch", "agent", "--site", string(site), "--state-dir", "/disk/keep/"+string(site)))
	}
	return func() { // those of now, also after a restart
		for _, a := range b.agents {
			a.Kill(t)
		}
	}
}

// startTraffic sends in both directions, and is called again after each boot.
func (b *guestBed) startTraffic(t *testing.T) {
	t.Helper()
	ns := [2]testbed.Namespace{{Name: "a"}, {Name: "b"}}
	for i := range b.meters {
		b.meters[i].Set(t, b.guest.StartFlow(t, testbed.FlowSpec{
			From: ns[i], To: ns[1-i], FromAddress: b.at[i], ToAddress: b.at[1-i], Every: 5 * time.Millisecond,
		}))
	}
}

// traffic is Device.Traffic.
func (b *guestBed) traffic(t *testing.T) []proof.Direction {
	t.Helper()
	b.startTraffic(t)
	name := func(i int) string { return string(b.sites[i]) + " to " + string(b.sites[1-i]) }
	return []proof.Direction{{Name: name(0), Meter: &b.meters[0]}, {Name: name(1), Meter: &b.meters[1]}}
}

// pageTopology is the topology of a page, in the namespaces of the guest and with
// the policy of the script in the place of its own.
func pageTopology(t testing.TB, page, kind, policy string) string {
	t.Helper()
	documents, _, _ := strings.Cut(block(t, page, "yaml", 0), "---\napiVersion: keyorch/v1\nkind: Policy\n")
	for _, netns := range []string{"a", "b"} {
		documents = strings.Replace(documents, "kind: "+kind+"\n    links", "kind: "+kind+"\n    netns: "+netns+"\n    links", 1)
	}
	return strings.ReplaceAll(documents, "policy: "+policy, "policy: proof")
}
