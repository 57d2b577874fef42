package bird

import (
	"bytes"
	"fmt"

	"github.com/keyorch/keyorch/devices/keying"
)

// never is a day before which a password generates nothing: it is only accepted.
// The same line serves a key before its time and after it.
const never = "2999-01-01"

// version is the symbol that the passwords of a set refer to, and only the
// constants of that set define. The capital keeps it apart from those of links.
func (s segment) version(tag string) string { return s.symbol() + "_V" + tag }

// passwords is LINK.ospf or LINK.bfd: the list of passwords of one protocol. No
// keys give an empty file, as the operator makes one before keyorch has been there.
func (s segment) passwords(protocol string, of state) []byte {
	var b bytes.Buffer
	if len(of.Keys) > 0 {
		fmt.Fprintf(&b, "# Keys of link %s. Written by keyorch: what is edited here is put back.\n", s.link)
	}
	for _, k := range of.Keys {
		text, algorithm, when := k.ospfPassword(), fmt.Sprintf(" algorithm %s;", k.Algorithm), ""
		if protocol == bfd {
			text, algorithm = password(k.BFD), ""
		}
		if k.Epoch != of.Sends {
			when = fmt.Sprintf(" generate from %q;", never)
		}
		fmt.Fprintf(&b, "password \"%s\" { id (%s + %d);%s%s }; # %s\n", text, s.version(of.tag()), k.ID, algorithm, when, keying.Label(k.Ref))
		clear(text)
	}
	return b.Bytes()
}

// constants is LINK.keys when BIRD is to use a set of keys.
func (s segment) constants(of state) []byte {
	if len(of.Keys) == 0 {
		return nil
	}
	return s.define(of.constant(), of.tag())
}

// between is LINK.keys while the files change from one set to another: it goes
// with the passwords of both, and claims what both have.
func (s segment) between(from, to state) []byte {
	tags := []string{from.tag()}
	if to.tag() != from.tag() {
		tags = append(tags, to.tag())
	}
	return s.define(changing+from.claim().and(to.claim()).text(tags...), tags...)
}

func (s segment) define(constant string, tags ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Which keys link %s has. Written by keyorch, no secrets.\n", s.link)
	fmt.Fprintf(&b, "define %s = %q;\n", s.symbol(), constant)
	for _, tag := range tags {
		fmt.Fprintf(&b, "define %s = 0;\n", s.version(tag))
	}
	return b.Bytes()
}
