package client

import (
	"bytes"
	"strings"
	"unicode"
)

// maxWords is how much of a text of the device is shown, in characters.
const maxWords = 200

// window is how many neighbouring bytes of a hidden text count as a part of it.
const window = 8

// RPCError is the answer of a device that did not do what it was asked for
// (RFC 6241, section 4.3). Its texts are fit to be shown.
type RPCError struct {
	Tag     string // "data-missing"
	Path    string // where, or empty
	Message string // in the device's own words, or empty
	Element string // which element or attribute is meant, or empty
	// Session is the session that holds the lock which was denied; 0: none that
	// speaks NETCONF, or not said.
	Session uint32
}

// Error is "data-missing at /key-chains/…: required value instance not found".
func (e *RPCError) Error() string {
	text := e.Tag
	if e.Path != "" {
		text += " at " + e.Path
	} else if e.Element != "" {
		text += " at " + e.Element
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// rpcError is an rpc-error as it comes.
type rpcError struct {
	Tag      string `xml:"error-tag"`
	Severity string `xml:"error-severity"`
	Path     string `xml:"error-path"`
	Message  string `xml:"error-message"`
	Info     struct {
		Session   uint32 `xml:"session-id"`
		Element   string `xml:"bad-element"`
		Attribute string `xml:"bad-attribute"`
	} `xml:"error-info"`
}

// shown is e without what must not be shown.
func (e rpcError) shown(hidden []byte) *RPCError {
	clean := func(text string) string {
		if quotes(text, hidden) {
			return "(not shown, because there is a part of the key in it)"
		}
		return words(text)
	}
	out := &RPCError{Tag: clean(e.Tag), Path: clean(e.Path), Message: clean(e.Message), Element: clean(e.Info.Element), Session: e.Info.Session}
	if out.Tag == "" {
		out.Tag = "an rpc-error without a tag"
	}
	if out.Element == "" {
		out.Element = clean(e.Info.Attribute)
	}
	return out
}

// quotes reports whether a part of hidden stands in text, however it is written
// with regard to case, colons and white space.
func quotes(text string, hidden []byte) bool {
	plain := func(b []byte) []byte {
		return bytes.Map(func(r rune) rune {
			if r == ':' || unicode.IsSpace(r) {
				return -1
			}
			return unicode.ToLower(r)
		}, b)
	}
	in, of := plain([]byte(text)), plain(hidden)
	defer clear(of)
	for at := 0; at+window <= len(of); at++ {
		if bytes.Contains(in, of[at:at+window]) {
			return true
		}
	}
	return false
}

// words is text on one line, printable and not too long.
func words(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar
	}), " ")
	if r := []rune(text); len(r) > maxWords {
		return string(r[:maxWords-1]) + "…"
	}
	return text
}
