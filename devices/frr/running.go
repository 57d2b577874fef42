package frr

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/keychain"
)

// running is what ospf6d shows of its configuration, as far as one key chain is
// concerned.
type running struct {
	chain
	// loud says that FRR writes every command into its log, key-strings too.
	loud bool
	// uses is the key chain of each interface that authenticates with one.
	uses map[string]string
}

// errCut is an answer of vtysh that ospf6d did not give to the end. vtysh then
// prints what it has, and exits with 0.
var errCut = errors.New("ospf6d went away while its configuration was read")

// parseRunning reads what vtysh prints for "show running-config" and "show
// daemons" on a connection to ospf6d alone. The key-strings in the answer are
// slices of out. Errors quote nothing that could be a key-string.
func parseRunning(out []byte, name string) (running, error) {
	r := running{chain: chain{name: name}, uses: make(map[string]string)}
	var version, whole, connected bool
	var iface string
	var in bool // in the key chain
	for line := range bytes.Lines(out) {
		line = bytes.TrimRight(line, "\r\n")
		text := bytes.TrimSpace(line)
		verb, rest, _ := bytes.Cut(text, []byte(" "))
		if len(line) > 0 && line[0] != ' ' { // a new context
			in, iface = false, ""
			switch {
			case string(verb) == "frr":
				version = true
			case string(text) == "end":
				whole = true
			case string(text) == "log commands":
				r.loud = true
			case string(text) == "key chain "+name:
				in = true
			case string(verb) == "interface":
				named, _, _ := strings.Cut(string(rest), " ")
				iface = named
			}
			continue
		}
		switch {
		case whole && string(text) == daemon:
			connected = true
		case in:
			if err := r.take(string(verb), rest); err != nil {
				return running{}, err
			}
		case iface != "":
			if used, ok := bytes.CutPrefix(text, []byte("ipv6 ospf6 authentication keychain ")); ok {
				r.uses[iface] = string(used)
			}
		}
	}
	if !version || !whole || !connected {
		return running{}, errCut
	}
	slices.SortFunc(r.keys, func(a, b key) int { return cmp.Compare(a.id, b.id) })
	return r, nil
}

// take takes in one line of the key chain. Lines that it does not know are left
// alone: a newer FRR may have more.
func (c *chain) take(verb string, rest []byte) error {
	if verb == "key" {
		id, err := strconv.ParseUint(string(rest), 10, 31)
		if err != nil {
			return fmt.Errorf("key chain %s has a key whose number cannot be read", c.name)
		}
		c.keys = append(c.keys, key{id: int(id)})
		return nil
	}
	if len(c.keys) == 0 {
		return nil
	}
	k := &c.keys[len(c.keys)-1]
	switch verb {
	case "key-string":
		k.text = rest
		k.ref, _ = parseText(rest)
	case "cryptographic-algorithm":
		k.algorithm = string(rest)
	case "send-lifetime", "accept-lifetime":
		if _, _, _, err := parseLifetime(string(rest)); err != nil {
			return fmt.Errorf("key %d of key chain %s has a %s that cannot be read", k.id, c.name, verb)
		}
		if verb == "send-lifetime" {
			k.send = lifetime(rest)
		} else {
			k.accept = lifetime(rest)
		}
	}
	return nil
}

// secretSize is how many derived bytes stand in a key-string: as many as
// HMAC-SHA-256 can make use of.
const secretSize = 32

// A key-string is the public name of the key, a dot, and the derived bytes in
// base64: "e4-a1b2c3d4e5.…". The whole of it is the key of the HMAC: ospf6d hashes
// what is longer than the digest.

// keyString is the key-string of a key. The caller clears it.
func keyString(r keychain.Ref, derived []byte) []byte {
	name := keying.Label(r) + "."
	text := make([]byte, 0, len(name)+base64.RawURLEncoding.EncodedLen(len(derived)))
	return base64.RawURLEncoding.AppendEncode(append(text, name...), derived)
}

// parseText reads the name in a key-string; false for one that is not ours.
func parseText(text []byte) (keychain.Ref, bool) {
	label, coded, found := bytes.Cut(text, []byte("."))
	if !found || len(coded) != base64.RawURLEncoding.EncodedLen(secretSize) || !isCoded(coded) {
		return keychain.Ref{}, false
	}
	return keying.ParseLabel(string(label))
}

func isCoded(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}
