package client

import (
	"encoding/xml"
	"strings"
	"testing"
	"unicode"
)

// FuzzReply: whatever a device sends in place of a hello or a reply, it is read or
// refused in words of our own; what is shown of an rpc-error is printable, short and
// without a part of the key, however the device has written it.
func FuzzReply(f *testing.F) {
	const (
		head = `<rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="7">`
		tail = `</rpc-reply>`
	)
	for _, s := range []string{
		"<ok/>", "<data><name>x</name></data>", "<ok/><data/>", "", "<rpc-error><error-tag>data-missing</error-tag><error-severity>error</error-severity><error-path>/key-chains</error-path><error-message>not \x1b[2J found</error-message></rpc-error>",
		"<rpc-error><error-severity>warning</error-severity></rpc-error><ok/>", "<rpc-error><error-message>6B:48:38:76:4E:32:71:4C:78:30:73:52</error-message></rpc-error>",
		"<rpc-error><error-info><session-id>4294967296</session-id><bad-element>" + strings.Repeat("x", 500) + "</bad-element></error-info></rpc-error>",
	} {
		f.Add([]byte(head + s + tail))
	}
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>` + head + "&c;<ok/>" + tail))
	f.Add([]byte(head + strings.Repeat("<data>", 5000)))
	f.Add([]byte(`<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability><capability>urn:x?module=m&amp;features=a,b</capability></capabilities><session-id>4</session-id></hello>`))
	hidden := []byte("6b:48:38:76:4e:32:71:4c:78:30:73:52:37:74:59:77")
	f.Fuzz(func(t *testing.T, message []byte) {
		if h, err := parseHello(message); err == nil {
			for _, c := range h.Capabilities {
				if strings.TrimSpace(c) != c {
					t.Errorf("the capability %q", c)
				}
			}
			h.module("m")
		} else if len(err.Error()) > 200 {
			t.Errorf("says %q", err)
		}
		var data struct {
			XMLName xml.Name
			Name    string `xml:"name"`
		}
		for _, into := range []any{nil, &data} {
			s := &Session{id: 7}
			r := reply{Data: payload{into: into}}
			if err := s.decode(message, &r); err != nil && len(err.Error()) > 200 {
				t.Errorf("says %q", err)
			}
			for _, e := range r.Errors {
				shown := e.shown(hidden)
				text := shown.Error()
				if len([]rune(text)) > 3*maxWords || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("says %q", text)
				}
				for _, one := range []string{shown.Tag, shown.Path, shown.Message, shown.Element} {
					if quotes(one, hidden) {
						t.Errorf("shows a part of the key: %q", one)
					}
				}
			}
		}
	})
}

// FuzzHostKey: a host key that is taken is a whole one, with its fingerprint.
func FuzzHostKey(f *testing.F) {
	for _, s := range []string{
		"SHA256:" + strings.Repeat("a", 43), "SHA256:", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMg4FQ8NLrHV4fjuZWvDgDr5u4rmuDVIPFYuBfZxfZmR",
		"10.0.0.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMg4FQ8NLrHV4fjuZWvDgDr5u4rmuDVIPFYuBfZxfZmR x", "@cert-authority * ssh-rsa AAAA", "# comment\n", "|1|a=|b= ssh-rsa AAAA", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHostKey(s)
		switch {
		case err != nil && len(err.Error()) > 200:
			t.Errorf("says %q", err)
		case err == nil && (!strings.HasPrefix(h.fingerprint, "SHA256:") || len(h.fingerprint) != len("SHA256:")+43):
			t.Errorf("%q has the fingerprint %q", s, h.fingerprint)
		}
	})
}
