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

const xfrmPage = "../../docs/devices/xfrm.md"

// TestXfrmProof proves two gateways in the kernel of a guest, each in a namespace
// of its own, with policies and topology as the page has them.
func TestXfrmProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Guests)
	x := &xfrmTunnel{guestBed: newGuestBed(t, xfrmModules, [2]keychain.SiteID{"mine", "mill"}, "10.20.1.1", "10.20.2.1")}
	x.boot(t)
	proof.Run(t, x.stack, proof.Device{
		Kind: "xfrm", Topology: pageTopology(t, xfrmPage, "xfrm", "tunnels"),
		Sites: []keychain.SiteID{"mine", "mill"}, Links: []keychain.LinkID{"mine-mill", "mill-mine"},
		Agents: x.startAgents, Traffic: x.traffic,
		BreakInstall: x.takeNextSPI,
		Says:         "is taken by a security association that is not of this link (src 192.0.2.",
		NewEpoch:     true,
		Restart:      x.restart,
		Reused:       x.reused,
		WrongOrder:   x.switchFirst,
	})
}

// xfrmTunnel is a guest with two gateways: mine-gw in namespace a, mill-gw in b.
type xfrmTunnel struct {
	*guestBed
	watch *guest.Process
	looks []string // what was seen of the kernel before each restart
}

// boot is what the operator has the machines do at each boot.
func (x *xfrmTunnel) boot(t *testing.T) {
	t.Helper()
	x.guest.Pair(t)
	setup := strings.NewReplacer("eth0", "$port", "eth1", "lo").Replace(block(t, xfrmPage, "sh", 0))
	exchanged := strings.NewReplacer(
		"10.20.1.", "10.20.2.", "10.20.2.", "10.20.1.", "192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1").Replace(setup)
	x.guest.Run(t, "ip", "netns", "exec", "a", "dash", "-ec", "port=va\n"+setup)
	x.guest.Run(t, "ip", "netns", "exec", "b", "dash", "-ec", "port=vb\n"+exchanged)
	x.watch = x.guest.Spawn(t, fmt.Sprintf("xfrm-watch-%d", len(x.looks)), nil, "dash", "-c",
		`while :; do for n in a b; do echo end $n; ip -n $n xfrm state list nokeys | grep -E "^src|reqid|oseq|sel"; done; sleep 0.25; done`)
}

// restart cuts the power. The policies that block stand before the traffic does:
// without a key nothing is sent in the clear, which each end would count.
func (x *xfrmTunnel) restart(t *testing.T) {
	x.looks = append(x.looks, x.guest.ReadFile(t, x.watch.Log))
	x.guest.Restart(t)
	x.boot(t)
	x.startTraffic(t)
	testbed.Until(t, 10*time.Second, "traffic without a key is blocked", func() bool {
		return x.counter(t, "a", "XfrmOutPolBlock") > 0 && x.counter(t, "b", "XfrmOutPolBlock") > 0
	})
	for _, ns := range []string{"a", "b"} {
		if n := x.counter(t, ns, "XfrmInPolBlock"); n > 0 {
			t.Errorf("%d packets reached %s in the clear", n, ns)
		}
	}
	x.startAgents(t)
}

// counter is one line of /proc/net/xfrm_stat.
func (x *xfrmTunnel) counter(t *testing.T, ns, name string) int {
	t.Helper()
	words := strings.Fields(x.guest.Run(t, "ip", "netns", "exec", ns, "cat", "/proc/net/xfrm_stat"))
	for i := 0; i+1 < len(words); i += 2 {
		if words[i] == name {
			n, _ := strconv.Atoi(words[i+1])
			return n
		}
	}
	t.Fatalf("xfrm_stat has no %s", name)
	return 0
}

// xfrmEnds are the two senders, each with its policy and with its receiver.
func xfrmEnds() []struct{ ns, from, to, nets, peer string } {
	return []struct{ ns, from, to, nets, peer string }{
		{"a", "192.0.2.1", "192.0.2.2", "src 10.20.1.0/24 dst 10.20.2.0/24 dir out", "b"},
		{"b", "192.0.2.2", "192.0.2.1", "src 10.20.2.0/24 dst 10.20.1.0/24 dir out", "a"},
	}
}

var (
	xfrmPinned   = regexp.MustCompile(`proto esp spi 0x([0-9a-f]+)\S* reqid (\d+)`)
	xfrmSelector = regexp.MustCompile(`sel (src \S+ dst \S+)`)
)

// sending is the SPI that the outbound policy of an end names.
func (x *xfrmTunnel) sending(t *testing.T, ns, policy string) uint64 {
	t.Helper()
	shown := x.guest.Sh(t, "ip -n "+ns+" xfrm policy get "+policy)
	m := xfrmPinned.FindStringSubmatch(shown)
	if m == nil {
		t.Fatalf("the policy of %s names no SPI:\n%s", ns, shown)
	}
	spi, _ := strconv.ParseUint(m[1], 16, 32)
	return spi
}

// takeNextSPI puts an SA that is not keyorch's where each receiver needs room for
// the next key.
func (x *xfrmTunnel) takeNextSPI(t *testing.T) (mend func()) {
	var away []string
	for _, end := range xfrmEnds() {
		at := fmt.Sprintf("src %s dst %s proto esp spi 0x%x", end.from, end.to, x.sending(t, end.ns, end.nets)+1)
		x.guest.Sh(t, fmt.Sprintf("ip -n %s xfrm state add %s %s", end.peer, at, strings.Replace(
			strings.Join(xfrmStranger(), " "), "rfc4106(gcm(aes))", "'rfc4106(gcm(aes))'", 1)))
		away = append(away, fmt.Sprintf("ip -n %s xfrm state delete %s", end.peer, at))
	}
	return func() {
		t.Logf("the operator reads:\n%s", x.stack.Verb(t, 0, "why", "mine-mill").Out)
		x.guest.Sh(t, strings.Join(away, "\n"))
	}
}

// switchFirst sends with a key that no receiver has, and wants the receivers to
// miss it. The SA is marked as keyorch's are, so that the agents take it for a
// switch that came too early.
func (x *xfrmTunnel) switchFirst(t *testing.T) {
	const epoch, spi = 999, 0x999
	before := map[string]int{}
	for _, end := range xfrmEnds() {
		before[end.peer] = x.counter(t, end.peer, "XfrmInNoStates")
		now := x.guest.Sh(t, fmt.Sprintf("ip -n %s xfrm state get src %s dst %s proto esp spi 0x%x",
			end.ns, end.from, end.to, x.sending(t, end.ns, end.nets)))
		mark := xfrmSelector.FindStringSubmatch(now)
		if mark == nil {
			t.Fatalf("no selector in\n%s", now)
		}
		x.guest.Sh(t, fmt.Sprintf(`sa="src %[2]s dst %[3]s proto esp spi %[4]d reqid %[5]d mode tunnel"
ip -n %[1]s xfrm state add $sa replay-window 128 flag esn aead 'rfc4106(gcm(aes))' 0x00112233445566778899aabbccddeeff00112233 128 sel %[6]s
ip -n %[1]s xfrm policy update %[7]s tmpl $sa`, end.ns, end.from, end.to, spi, epoch, mark[1], end.nets))
	}
	for _, end := range xfrmEnds() {
		testbed.Until(t, 10*time.Second, "XfrmInNoStates rises", func() bool {
			return x.counter(t, end.peer, "XfrmInNoStates") > before[end.peer]
		})
	}
}

// xfrmSequence finds the two halves of the number of the last packet sent.
var xfrmSequence = regexp.MustCompile(`oseq-hi 0x([0-9a-f]+), oseq 0x([0-9a-f]+)`)

// reused goes through all that was seen of the kernel during the proof.
func (x *xfrmTunnel) reused(t *testing.T) int {
	n, keys := xfrmReused(t, strings.Join(append(x.looks, x.guest.ReadFile(t, x.watch.Log)), ""))
	if keys < 8 {
		t.Errorf("only %d keys were seen to send", keys)
	}
	return n
}

// xfrmReused counts how often a sending key was seen with a sequence number below
// one that it had before, and the keys that sent. A key that was put back after a
// restart begins at 1. What tells keys apart is the request ID and the selector:
// epoch and KCV.
func xfrmReused(t *testing.T, looks string) (n, keys int) {
	highest := map[string]uint64{}
	end, sa, epoch, seq := "", "", "", uint64(0)
	for line := range strings.Lines(looks) {
		line = strings.TrimSpace(line)
		pinned, numbers := xfrmPinned.FindStringSubmatch(line), xfrmSequence.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "end "):
			end = line
		case strings.HasPrefix(line, "src "):
			sa, epoch, seq = line, "", 0
		case pinned != nil:
			epoch = pinned[2]
		case numbers != nil:
			high, _ := strconv.ParseUint(numbers[1], 16, 32)
			low, _ := strconv.ParseUint(numbers[2], 16, 32)
			seq = high<<32 | low
		case strings.HasPrefix(line, "sel ") && epoch != "":
			key := strings.Join([]string{end, sa, "epoch", epoch, line}, " ")
			if seq < highest[key] {
				n++
				t.Logf("%s has sequence number %d after %d", key, seq, highest[key])
			}
			if highest[key] == 0 && seq > 0 {
				keys++
			}
			highest[key] = max(highest[key], seq)
		}
	}
	return n, keys
}

// TestXfrmReusedIsSeen takes a sequence number that goes back, and one that begins
// anew under another key.
func TestXfrmReusedIsSeen(t *testing.T) {
	look := func(epoch, oseq string) string {
		return "end a\nsrc 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x35318ba8 reqid " + epoch + " mode tunnel\n" +
			"\t seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0x" + oseq + "\n\tsel src 59.240.149.251/0 dst 178.235.62.148/0 \n"
	}
	if n, keys := xfrmReused(t, look("5", "9a")+look("5", "27d")+look("6", "1")+look("5", "27d")); n != 0 || keys != 2 {
		t.Errorf("%d of %d keys went back, want 0 of 2", n, keys)
	}
	if n, _ := xfrmReused(t, look("5", "9a")+look("5", "1")); n != 1 {
		t.Errorf("a key that went back was seen %d times, want 1", n)
	}
}
