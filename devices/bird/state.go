package bird

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// key is one key of a link, as the journal keeps it. The algorithm is that of the
// day on which it was installed: a new one in the topology begins with a new key.
type key struct {
	keychain.Ref
	ID        keychain.KeyID `json:"id"`
	Algorithm string         `json:"algorithm"`
	OSPF      []byte         `json:"ospf"`
	BFD       []byte         `json:"bfd"`
}

// Sizes of what is derived for the passwords: as text the second has the 20
// characters that BFD takes at most (RFC 5880, section 4.4).
const (
	ospfSize = 32
	bfdSize  = 15
)

// password is key bytes in characters that need no escape.
func password(secret []byte) []byte {
	text := make([]byte, base64.RawURLEncoding.EncodedLen(len(secret)))
	base64.RawURLEncoding.Encode(text, secret)
	return text
}

func (k key) ospfPassword() []byte {
	text := password(k.OSPF)
	if k.Algorithm == "keyed md5" { // it has room for 16 (RFC 2328, section D.3)
		text = text[:min(16, len(text))]
	}
	return text
}

// wipe clears the key bytes. Copies of k share them.
func (k key) wipe() {
	clear(k.OSPF)
	clear(k.BFD)
}

// state is the keys of a link: all are accepted, and one is sent with.
type state struct {
	Sends keychain.Epoch `json:"sends,omitempty"`
	Keys  []key          `json:"keys,omitempty"` // sorted by epoch
}

func (s state) find(e keychain.Epoch) (key, bool) {
	i := slices.IndexFunc(s.Keys, func(k key) bool { return k.Epoch == e })
	if i < 0 {
		return key{}, false
	}
	return s.Keys[i], true
}

// with adds k. What stands there already is left; another key under its epoch is a
// Mismatch, and another epoch under its id is refused.
func (s state) with(k key) (state, error) {
	if has, ok := s.find(k.Epoch); ok {
		if has.KCV != k.KCV {
			return s, fault.New(fault.Mismatch, "it has another key under epoch %d: its KCV is %s, not %s", k.Epoch, has.KCV, k.KCV)
		}
		return s, nil
	}
	for _, other := range s.Keys {
		if other.ID == k.ID {
			return s, fault.New(fault.Refused, "key id %d is that of epoch %d", k.ID, other.Epoch)
		}
	}
	if len(s.Keys) >= acceptMany {
		return s, fault.New(fault.Refused, "it has %d keys already", len(s.Keys))
	}
	s.Keys = append(slices.Clone(s.Keys), k)
	slices.SortFunc(s.Keys, func(a, b key) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return s, nil
}

// without drops the key of an epoch, but for the last one and the one in use.
func (s state) without(e keychain.Epoch) (state, error) {
	_, ok := s.find(e)
	switch {
	case !ok:
		return s, nil
	case len(s.Keys) == 1:
		return s, fault.New(fault.Refused, "it is the last key")
	case s.Sends == e:
		return s, fault.New(fault.Refused, "it is the key in use")
	}
	s.Keys = slices.DeleteFunc(slices.Clone(s.Keys), func(k key) bool { return k.Epoch == e })
	return s, nil
}

// tag names a set of keys with its ids and the one that is sent. It is made from
// nothing secret.
func (s state) tag() string {
	h := sha256.New()
	for _, k := range s.Keys {
		fmt.Fprintln(h, keying.Label(k.Ref), k.ID, k.Algorithm, k.Epoch == s.Sends)
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// wipe clears the key bytes. Copies of s share them.
func (s state) wipe() {
	for _, k := range s.Keys {
		k.wipe()
	}
}

// claim is what a constant says: which keys are accepted and which is sent.
type claim struct {
	accepts []keychain.Ref
	sends   keychain.Ref
}

func (s state) claim() claim {
	var c claim
	for _, k := range s.Keys {
		c.accepts = append(c.accepts, k.Ref)
		if k.Epoch == s.Sends {
			c.sends = k.Ref
		}
	}
	return c
}

// and is what holds whichever of the two is true.
func (c claim) and(o claim) claim {
	both := claim{}
	for _, r := range c.accepts {
		if slices.Contains(o.accepts, r) {
			both.accepts = append(both.accepts, r)
		}
	}
	if c.sends == o.sends {
		both.sends = c.sends
	}
	return both
}

// constant is the value of the link's constant when BIRD has loaded s; empty when
// there are no keys.
func (s state) constant() string {
	if len(s.Keys) == 0 {
		return ""
	}
	return s.claim().text(s.tag())
}

// changing begins the constant while the files are being changed: it is never that
// of a state.
const changing = "changing: "

// text is a claim as the constant has it: "accepts e3-0f1e2d3c4b e4-a1b2c3d4e5
// sends e3-0f1e2d3c4b set 5f3a9c01".
func (c claim) text(tags ...string) string {
	parts := []string{"accepts"}
	for _, r := range c.accepts {
		parts = append(parts, keying.Label(r))
	}
	sends := "none"
	if !c.sends.IsZero() {
		sends = keying.Label(c.sends)
	}
	return strings.Join(append(parts, "sends", sends, "set", strings.Join(tags, " or ")), " ")
}

// parseClaim reads what text wrote; anything else claims nothing.
func parseClaim(constant string) claim {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(constant, changing), "accepts")
	keys, rest, found := strings.Cut(rest, " sends ")
	sends, _, set := strings.Cut(rest, " set ")
	if !ok || !found || !set {
		return claim{}
	}
	var c claim
	for _, word := range strings.Fields(keys) {
		r, ok := keying.ParseLabel(word)
		if !ok {
			return claim{}
		}
		c.accepts = append(c.accepts, r)
	}
	if sends != "none" {
		if c.sends, ok = keying.ParseLabel(sends); !ok || !slices.Contains(c.accepts, c.sends) {
			return claim{}
		}
	}
	return c
}
