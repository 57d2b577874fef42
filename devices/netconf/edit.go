package netconf

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/secret"
)

// material is a key as it goes to the device.
type material struct {
	text      []byte // of the leaf that link.format names; wiped by its maker
	namespace string // of the module that has the identity of the algorithm
}

// keyText writes a key as a key string: letters, digits, '-' and '_'. In
// hexadecimal (yang:hex-string, with colons) it is the same string byte by byte, so
// that devices of either format are given one and the same key.
func (l link) keyText(key secret.Key) []byte {
	var text []byte
	_ = key.Use(func(b []byte) error {
		text = base64.RawURLEncoding.AppendEncode(nil, b)
		return nil
	})
	if l.format == keystring {
		return text
	}
	defer clear(text)
	colons := make([]byte, 0, 3*len(text))
	for i := range text {
		if i > 0 {
			colons = append(colons, ':')
		}
		colons = hex.AppendEncode(colons, text[i:i+1])
	}
	return colons
}

// open begins the edit of a key chain, with room for all of it, so that no copy
// with a key is left behind.
func (l link) open(description string, edits int) []byte {
	b := make([]byte, 0, 1024+6*len(description)+6*len(l.chain)+1024*edits)
	return fmt.Appendf(b, `<key-chains xmlns="%s" xmlns:nc="%s"><key-chain><name>%s</name><description>%s</description>`,
		namespace8177, client.Namespace, client.Text(l.chain), client.Text(description))
}

const closing = "</key-chain></key-chains>"

// config is the edit of a key chain. The caller wipes it.
func (l link) config(p *plan, description string, m material) []byte {
	b := l.open(description, len(p.edits))
	for _, e := range p.edits {
		b = l.appendKey(b, e, m)
	}
	return append(b, closing...)
}

func (l link) appendKey(b []byte, e edit, m material) []byte {
	b = append(b, "<key"...)
	if e.operation != "" {
		b = fmt.Appendf(b, ` nc:operation="%s"`, e.operation)
	}
	b = fmt.Appendf(b, "><key-id>%d</key-id>", e.id)
	if e.operation != "delete" {
		b = append(b, "<lifetime>"...)
		b = appendSpan(b, "send-lifetime", e.operation, e.send)
		b = appendSpan(b, "accept-lifetime", e.operation, e.accept)
		b = append(b, "</lifetime>"...)
	}
	if e.operation == "create" || e.operation == "replace" {
		// A prefix of its own keeps the identity apart from the default namespace.
		b = fmt.Appendf(b, `<crypto-algorithm xmlns:of="%s">of:%s</crypto-algorithm><key-string><%s>`, client.Text(m.namespace), l.algorithm, l.format)
		b = append(b, m.text...)
		b = fmt.Appendf(b, "</%s></key-string>", l.format)
	}
	return append(b, "</key>"...)
}

// appendSpan writes one lifetime. In a key that is there it replaces what stood
// there, which may be of another case.
func appendSpan(b []byte, name, operation string, s span) []byte {
	if s == "" {
		return b
	}
	how := ""
	if operation == "" {
		how = ` nc:operation="replace"`
	}
	return fmt.Appendf(b, "<%s%s>%s</%s>", name, how, s, name)
}
