package wireguard

import (
	"encoding/hex"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

const (
	pskLabel   = "keyorch/v1 wireguard pre-shared key"
	printLabel = "keyorch/v1 wireguard pre-shared key fingerprint"
	printSize  = 5

	// aliasMagic begins the alias of a slot that holds a key of ours.
	aliasMagic = "keyorch"

	// rekeyAfter is how long WireGuard uses a session before it makes a new
	// handshake (REKEY_AFTER_TIME): a younger one is good, and cannot be made anew.
	rekeyAfter = 120 * time.Second
)

// note is what the alias of a slot says, in four words:
// "keyorch e4-a1b2c3d4e5 3 0f1e2d3c4b". It holds nothing secret.
type note struct {
	ref    keychain.Ref
	serial keychain.Serial
	print  string // fingerprint of the PSK
}

func (n note) String() string {
	return strings.Join([]string{aliasMagic, keying.Label(n.ref), strconv.FormatUint(uint64(n.serial), 10), n.print}, " ")
}

// parseNote reads what String wrote; false for anything else.
func parseNote(alias string) (note, bool) {
	words := strings.Split(alias, " ")
	if len(words) != 4 || words[0] != aliasMagic {
		return note{}, false
	}
	ref, ok := keying.ParseLabel(words[1])
	serial, err := strconv.ParseUint(words[2], 10, 32)
	raw, odd := hex.DecodeString(words[3])
	if !ok || err != nil || odd != nil || len(raw) != printSize {
		return note{}, false
	}
	n := note{ref: ref, serial: keychain.Serial(serial), print: hex.EncodeToString(raw)}
	return n, n.String() == alias
}

// fingerprint tells two PSKs apart and reveals neither; empty for none.
func fingerprint(psk *wgtypes.Key) string {
	if *psk == (wgtypes.Key{}) {
		return ""
	}
	key := secret.New(append([]byte(nil), psk[:]...))
	defer key.Wipe()
	print, err := printOf(key)
	if err != nil {
		return "?" // matches no note
	}
	return print
}

func printOf(psk secret.Key) (string, error) {
	derived, err := psk.Derive(printLabel, printSize)
	if err != nil {
		return "", err
	}
	defer derived.Wipe()
	var print string
	err = derived.Use(func(b []byte) error {
		print = hex.EncodeToString(b)
		return nil
	})
	return print, err
}

// slot is one interface of a link as it is now.
type slot struct {
	name   string
	exists bool
	up     bool
	ours   bool // the alias is a note
	note   note
	peer   peer
}

// peer is what an interface says of the link's peer. The PSK is not in it.
type peer struct {
	device    bool   // the interface is one of WireGuard, and answers
	exists    bool   // it has the peer
	print     string // fingerprint of its PSK; empty: it has none
	handshake time.Time
	received  int64
	keepalive time.Duration
	endpoint  *net.UDPAddr
	allowed   []net.IPNet
	own       wgtypes.Key // public key of the interface itself
}

// newKey is a key that is to be put into its slot.
type newKey struct {
	slot   int
	ref    keychain.Ref
	serial keychain.Serial
	psk    secret.Key
}

// keyOf says where the key of sa belongs. Keys that live side by side have
// neighbouring Serials, so each has a slot of its own.
func keyOf(sa keychain.SA, ref keychain.Ref, psk secret.Key) newKey {
	return newKey{slot: int(sa.Serial % slotsOfLink), ref: ref, serial: sa.Serial, psk: psk}
}

// holds is the key that the slot accepts; zero when it holds none of ours, or one
// that somebody changed, or is down.
func (s slot) holds() keychain.Ref {
	if !s.exists || !s.up || !s.ours || !s.peer.exists || s.peer.print != s.note.print {
		return keychain.Ref{}
	}
	return s.note.ref
}

// stranger reports whether the slot has a PSK that is not ours.
func (s slot) stranger() bool { return !s.ours && s.peer.print != "" }

// confirmed reports whether a handshake was made with the key that the slot
// holds, and so lately that its session is used without a new one. Whoever puts a
// key in renews the peer, so that every handshake that it has was made with it.
func (s slot) confirmed(now time.Time) bool {
	age := now.Sub(s.peer.handshake)
	return !s.holds().IsZero() && !s.peer.handshake.IsZero() && age > -rekeyAfter && age < rekeyAfter
}
