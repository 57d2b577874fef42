package frr

import (
	"fmt"
	"strings"
	"time"
)

// script is what vtysh is to read. Its lines are applied one by one.
type script struct {
	text  []byte   // secret, when there is a key-string in it
	shown []string // the same lines for people, without key-strings
}

func (s *script) line(format string, a ...any) {
	line := fmt.Sprintf(format, a...)
	s.reserve(len(line) + 1)
	s.text = append(append(s.text, line...), '\n')
	s.shown = append(s.shown, strings.TrimSpace(line))
}

// material writes what the key is computed with.
func (s *script) material(indent string, k key) {
	if k.algorithm != "" {
		s.line("%scryptographic-algorithm %s", indent, k.algorithm)
	} else {
		s.line("%sno cryptographic-algorithm", indent)
	}
	if len(k.text) == 0 {
		s.line("%sno key-string", indent)
		return
	}
	const verb = "key-string "
	s.reserve(len(indent) + len(verb) + len(k.text) + 1)
	s.text = append(append(append(s.text, indent...), verb...), k.text...)
	s.text = append(s.text, '\n')
	s.shown = append(s.shown, verb+"…")
}

// reserve makes room for n bytes, and leaves no key-string behind where the text
// was.
func (s *script) reserve(n int) {
	if cap(s.text)-len(s.text) >= n {
		return
	}
	grown := make([]byte, len(s.text), 2*(len(s.text)+n))
	copy(grown, s.text)
	clear(s.text)
	s.text = grown
}

func (s *script) wipe() { clear(s.text) }

func (s *script) lifetime(indent, verb string, l lifetime) {
	if l == always {
		s.line("%sno %s", indent, verb)
		return
	}
	s.line("%s%s %s", indent, verb, l)
}

// between are the lines that make to out of from. After every line there is a key
// to send with, one that from or to sends with: new keys come first, and not to be
// sent with; then the key of to may be sent with; only then those of from no
// longer; what goes comes last.
func between(from, to chain, now time.Time) *script {
	s := &script{}
	if from.same(to) {
		return s
	}
	s.line("key chain %s", to.name)
	sends := make(map[int]lifetime) // as it is after the lines so far
	for _, k := range from.keys {
		sends[k.id] = k.send
	}
	for _, k := range to.keys {
		old, is := from.find(k.id)
		if is && old.sameMaterial(k) {
			continue
		}
		s.line("key %d", k.id)
		if !is || old.ref != k.ref { // at once: until this line a new key is sent with
			s.lifetime("", "send-lifetime", never)
			sends[k.id] = never
		}
		s.material("", k)
		if k.accept != old.accept {
			s.lifetime("", "accept-lifetime", k.accept)
		}
	}
	for _, begin := range []bool{true, false} {
		for _, k := range to.keys {
			if sends[k.id] != k.send && k.send.covers(now) == begin {
				s.line("key %d", k.id)
				s.lifetime("", "send-lifetime", k.send)
			}
		}
	}
	for _, k := range from.keys {
		if _, stays := to.find(k.id); !stays {
			s.line("no key %d", k.id)
		}
	}
	return s
}

// block is the chain as it stands in a configuration file.
func (c chain) block() *script {
	s := &script{}
	s.line("key chain %s", c.name)
	for _, k := range c.keys {
		s.line(" key %d", k.id)
		if k.send != always {
			s.lifetime("  ", "send-lifetime", k.send)
		}
		if k.accept != always {
			s.lifetime("  ", "accept-lifetime", k.accept)
		}
		s.material("  ", k)
		s.line(" exit")
	}
	s.line("exit")
	return s
}
