package client

import (
	"encoding/xml"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// The namespace of NETCONF, and the capabilities that matter here (RFC 6241,
// section 8; RFC 7950, section 5.6.4).
const (
	Namespace = "urn:ietf:params:xml:ns:netconf:base:1.0"

	base10 = "urn:ietf:params:netconf:base:1.0"
	base11 = "urn:ietf:params:netconf:base:1.1"

	Candidate       = "urn:ietf:params:netconf:capability:candidate:1.0"
	ConfirmedCommit = "urn:ietf:params:netconf:capability:confirmed-commit:" // any version
	Startup         = "urn:ietf:params:netconf:capability:startup:1.0"
	yangLibrary     = "urn:ietf:params:netconf:capability:yang-library:" // any version
)

// ourHello offers both versions; the device takes the newest that it has.
const ourHello = declaration + `<hello xmlns="` + Namespace + `"><capabilities>` +
	`<capability>` + base10 + `</capability><capability>` + base11 + `</capability></capabilities></hello>`

// hello is what the device says first.
type hello struct {
	XMLName      xml.Name `xml:"urn:ietf:params:xml:ns:netconf:base:1.0 hello"`
	Capabilities []string `xml:"capabilities>capability"`
	SessionID    uint32   `xml:"session-id"`
}

func parseHello(message []byte) (hello, error) {
	var h hello
	if err := xml.Unmarshal(message, &h); err != nil {
		return hello{}, errors.New("what the device sent first is not a hello of NETCONF")
	}
	for i, c := range h.Capabilities {
		h.Capabilities[i] = strings.TrimSpace(c)
	}
	if !slices.Contains(h.Capabilities, base10) && !slices.Contains(h.Capabilities, base11) {
		return hello{}, errors.New("the device speaks neither NETCONF 1.0 nor 1.1")
	}
	return h, nil
}

// Module is a YANG module as a device advertises it.
type Module struct {
	Namespace string
	Features  []string
}

// module looks a module up in the hello, where the modules of YANG 1 stand
// (RFC 6020, section 5.6.4), and by the habit of servers those of YANG 1.1 too.
func (h hello) module(name string) (Module, bool) {
	for _, c := range h.Capabilities {
		namespace, query, _ := strings.Cut(c, "?")
		values, err := url.ParseQuery(query)
		if err != nil || values.Get("module") != name {
			continue
		}
		m := Module{Namespace: namespace}
		if features := values.Get("features"); features != "" {
			m.Features = strings.Split(features, ",")
		}
		return m, true
	}
	return Module{}, false
}
