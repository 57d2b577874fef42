//go:build devices

package devices_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/netconf"
	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// netconfPage is what operators read. The topology that stands there is what runs
// here, with the addresses and keys of two servers on loopback.
const netconfPage = "../../docs/devices/netconf.md"

const osakaKobe keychain.LinkID = "osaka-kobe"

// osakaKobeTopology is the topology of the page, with the policy of the script.
func osakaKobeTopology(t *testing.T, osaka, kobe *netconfServer) string {
	t.Helper()
	documents, _, _ := strings.Cut(block(t, netconfPage, "yaml", 0), "---\napiVersion: keyorch/v1\nkind: Policy\n")
	parts := strings.Split(documents, "---\n")
	for i, part := range parts {
		for name, s := range map[string]*netconfServer{"osaka-r1": osaka, "kobe-r1": kobe} {
			if !strings.Contains(part, "metadata: {name: "+name+"}") {
				continue
			}
			f := s.fields("")
			for line := range strings.Lines(part) {
				field, _, _ := strings.Cut(strings.TrimSpace(line), ":")
				if value, ok := f[field].(string); ok && field != "confirmTimeout" {
					part = strings.Replace(part, line, "    "+field+": "+value+"\n", 1)
				}
			}
			parts[i] = part
		}
	}
	return strings.Replace(strings.Join(parts, "---\n"), "policy: routers", "policy: proof", 1)
}

// TestNetconfProof runs alone: beside a guest, which computes, a login at sshd may take longer
// than an agent waits for.
func TestNetconfProof(t *testing.T) {
	osaka, kobe := newNetconfServer(t), newNetconfServer(t)
	const chain = "ospf-core"
	proof.Run(t, proof.Shared(t), proof.Device{
		Kind: "netconf", Topology: osakaKobeTopology(t, osaka, kobe),
		Sites: []keychain.SiteID{"osaka", "kobe"}, Links: []keychain.LinkID{osakaKobe},
		Traffic: func(t *testing.T) []proof.Direction {
			return []proof.Direction{
				{Name: "osaka to kobe", Meter: newStream(t, osaka, kobe, chain, 20*time.Millisecond)},
				{Name: "kobe to osaka", Meter: newStream(t, kobe, osaka, chain, 20*time.Millisecond)},
			}
		},
		BreakInstall: func(t *testing.T) (mend func()) {
			// Somebody edits the candidate and goes for lunch.
			other := kobe.session(t)
			must(t, other.Edit(t.Context(), []byte(keyChains("<key-chain><name>another</name></key-chain>"))))
			return func() { must(t, other.Discard(t.Context())); other.Close() }
		},
		Says:    "candidate cannot be locked, discard-changes needed",
		Restart: func(t *testing.T) { kobe.restart(t) },
		WrongOrder: func(t *testing.T) {
			f := osaka.fields("")
			f["links"] = map[string]any{string(osakaKobe): map[string]any{"keychain": chain}}
			d, err := netconf.New("osaka-r1", f)
			must(t, err)
			sa := keychain.SA{Link: osakaKobe, Ref: keychain.Ref{Epoch: 999}, Serial: 99}
			must(t, d.Upstream().Switch(t.Context(), sa, secrettest.New(t).Key))
		},
	})
}
