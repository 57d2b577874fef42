//go:build devices

package devices_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/guest"
	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
)

const macsecPage = "../../docs/devices/macsec.md"

// TestMacsecProof proves two ends of one cable in the kernel of a guest, each in a
// namespace of its own, with interfaces and topology as the page has them.
func TestMacsecProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Guests)
	c := &macsecCable{guestBed: newGuestBed(t, macsecModules, [2]keychain.SiteID{"plant", "office"}, "10.20.0.1", "10.20.0.2")}
	c.boot(t)
	proof.Run(t, c.stack, proof.Device{
		Kind: "macsec", Topology: pageTopology(t, macsecPage, "macsec", "cables"),
		Sites: []keychain.SiteID{"plant", "office"}, Links: []keychain.LinkID{"plant-office", "office-plant"},
		Agents: c.startAgents, Traffic: c.traffic,
		BreakInstall: c.takeNextAN,
		Says:         "is taken by a receive key that is not keyorch's (key id ff",
		NewEpoch:     true,
		Restart: func(t *testing.T) {
			c.guest.Restart(t)
			c.boot(t)
			c.startAgents(t)
			c.startTraffic(t)
		},
		Reused:     c.reused,
		WrongOrder: c.switchFirst,
	})
}

// macsecCable is a guest with a cable: plant-gw in namespace a, office-gw in b.
type macsecCable struct {
	*guestBed
	watch *guest.Process
}

// boot is what the operator has the machine do at each boot.
func (c *macsecCable) boot(t *testing.T) {
	t.Helper()
	c.guest.Pair(t)
	setup := strings.ReplaceAll(block(t, macsecPage, "sh", 0), "eth1", "$port")
	for _, end := range []struct{ ns, mac, address string }{{"a", macsecOwn, "10.20.0.1"}, {"b", macsecPeer, "10.20.0.2"}} {
		c.guest.Run(t, "ip", "-n", end.ns, "link", "set", "v"+end.ns, "address", end.mac)
		c.guest.Run(t, "ip", "netns", "exec", end.ns, "dash", "-ec", "port=v"+end.ns+"\n"+strings.ReplaceAll(setup, "10.20.0.1", end.address))
	}
	c.watch = c.guest.Spawn(t, "macsec-watch", nil, "dash", "-c",
		"while :; do for n in a b; do echo end $n; ip -n $n macsec show macsec0; done; sleep 0.25; done")
}

// macsecEncoding finds the AN that is sent with in what ip shows.
var macsecEncoding = regexp.MustCompile(`TXSC: [0-9a-f]{16} on SA ([0-3])`)

// encoding is the AN that an end sends with.
func (c *macsecCable) encoding(t *testing.T, ns string) int {
	t.Helper()
	shown := c.guest.Run(t, "ip", "-n", ns, "macsec", "show", "macsec0")
	m := macsecEncoding.FindStringSubmatch(shown)
	if m == nil {
		t.Fatalf("ip shows no encoding SA:\n%s", shown)
	}
	an, _ := strconv.Atoi(m[1])
	return an
}

// macsecEnds are both ends, and the address of the peer of each.
var macsecEnds = map[string]struct{ peerEnd, peer string }{"a": {"b", macsecPeer}, "b": {"a", macsecOwn}}

// takeNextAN puts a key that is not keyorch's where each receiver needs room for
// the next one.
func (c *macsecCable) takeNextAN(t *testing.T) (mend func()) {
	var away []string
	for ns, end := range macsecEnds {
		at := fmt.Sprintf("macsec0 rx port 1 address %s sa %d", end.peer, (c.encoding(t, end.peerEnd)+1)%4)
		c.guest.Sh(t, fmt.Sprintf("ip -n %s macsec add %s pn 1 on key ff 00112233445566778899aabbccddeeff", ns, at))
		away = append(away, fmt.Sprintf("ip -n %s macsec set %s off; ip -n %s macsec del %s", ns, at, ns, at))
	}
	return func() {
		t.Logf("the operator reads:\n%s", c.stack.Verb(t, 0, "why", "plant-office").Out)
		c.guest.Sh(t, strings.Join(away, "\n"))
	}
}

// switchFirst sends with a key that no receiver has, under an AN that no key of
// keyorch's needs soon, and wants the receivers to miss it. Its name is one of
// keyorch's, so that the agents take it for a switch that came too early.
func (c *macsecCable) switchFirst(t *testing.T) {
	for ns := range macsecEnds {
		an := (c.encoding(t, ns) + 2) % 4
		name := fmt.Sprintf("%x%016x%s", "kyo", 999, "0123456789")
		c.guest.Sh(t, fmt.Sprintf(`ip -n %[1]s macsec add macsec0 tx sa %[2]d pn 1 on key %[3]s 00112233445566778899aabbccddeeff
ip -n %[1]s link set macsec0 type macsec encodingsa %[2]d`, ns, an, name))
	}
	before := c.notUsingSA(t)
	testbed.Until(t, 10*time.Second, "InPktsNotUsingSA rises", func() bool { return c.notUsingSA(t) > before })
}

// notUsingSA adds up the frames for whose AN a receiver had no key.
func (c *macsecCable) notUsingSA(t *testing.T) int {
	t.Helper()
	sum := 0
	for ns := range macsecEnds {
		lines := strings.Split(c.guest.Run(t, "ip", "-n", ns, "-s", "macsec", "show", "macsec0"), "\n")
		for i, line := range lines {
			at := strings.Index(line, "InPktsNotUsingSA")
			if at < 0 || i+1 >= len(lines) {
				continue
			}
			names, numbers := strings.Fields(line), strings.Fields(lines[i+1])
			for j, name := range names {
				// The channel's statistics are headed by "stats:".
				if n := j - (len(names) - len(numbers)); name == "InPktsNotUsingSA" && n >= 0 {
					value, _ := strconv.Atoi(numbers[n])
					sum += value
				}
			}
		}
	}
	return sum
}

// macsecSA is one SA as ip shows it.
var macsecSA = regexp.MustCompile(`^\s+[0-3]: PN (\d+), state \w+, key ([0-9a-f]{32})`)

// reused goes through all that was seen of the kernel during the proof, and counts
// how often a transmit key was seen with a packet number below one that it had
// before. A key that was put back after a restart begins at 1.
func (c *macsecCable) reused(t *testing.T) int {
	n, looks := 0, 0
	highest := map[string]uint64{}
	end, sends := "", false
	for line := range strings.Lines(c.guest.ReadFile(t, c.watch.Log)) {
		switch {
		case strings.HasPrefix(line, "end "):
			end = strings.TrimSpace(line)
			looks++
		case strings.Contains(line, "TXSC:"):
			sends = true
		case strings.Contains(line, "RXSC:"):
			sends = false
		}
		m := macsecSA.FindStringSubmatch(line)
		if m == nil || !sends {
			continue
		}
		pn, _ := strconv.ParseUint(m[1], 10, 64)
		key := end + m[2]
		if pn < highest[key] {
			n++
			t.Logf("%s: key %s has packet number %d after %d", end, m[2], pn, highest[key])
		}
		highest[key] = max(highest[key], pn)
	}
	if len(highest) < 8 {
		t.Errorf("only %d transmit keys were seen in %d looks", len(highest), looks)
	}
	return n
}
