package strongswan

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/strongswan/govici/vici"

	"github.com/keyorch/keyorch/devices/params"
)

// section is a connection as the topology gives it, in the words of swanctl.conf,
// in the form that VICI wants: texts, lists of texts, sections.
type section map[string]any

// fixed is what every connection of ours has in mode ppk, because rotation depends on it:
// IKEv2 knows PPKs, a second IKE SA with the same peer must not end the first, a
// refused switch must not be tried for ever, and without the PPK there is to be no
// tunnel.
func fixed() map[string]string {
	return map[string]string{"version": "2", "unique": "never", "keyingtries": "1", "ppk_required": "yes"}
}

// dpdDelay is the dpd_delay of connections that give none. Without it an initiator
// never learns that the responder has restarted, and sends into the void.
const dpdDelay = "10s"

// maxFieldName and maxFieldText are what fits into a message of VICI.
const (
	maxFieldName = math.MaxUint8
	maxFieldText = math.MaxUint16
)

// isList reports whether swanctl.conf has a list in this field, written with
// commas, and VICI wants one.
func isList(field string) bool {
	return slices.Contains([]string{"local_addrs", "remote_addrs", "proposals", "esp_proposals", "ah_proposals",
		"local_ts", "remote_ts", "vips", "pools", "groups", "cert_policy"}, field)
}

// readConnection reads the field "connection" of a link; nil when it is not there.
func readConnection(part *params.Reader) section {
	const field = "connection"
	free := part.Map(field)
	if free == nil {
		return nil
	}
	c := convert(part, field, free)
	c.fix(part, field, fixed())
	if _, given := c["ppk_id"]; given {
		part.Problem(field+".ppk_id", "keyorch gives every key an identity of its own: leave it out")
	}
	c.complete(part, field)
	for _, end := range []string{"local", "remote"} {
		if auth, _ := c.section(end)["auth"].(string); auth == "" {
			part.Problem(field+"."+end+".auth", `it is missing: give it, such as "psk"`)
		}
	}
	checkChildren(part, field+".children", c.section("children"))
	return c
}

// fix sets what rotation depends on; the topology may give nothing else there.
func (s section) fix(part *params.Reader, field string, fixed map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		if got, want := s[name], fixed[name]; got != nil && got != want {
			part.Problem(field+"."+name, "it is always %s here: leave it out", want)
		}
		s[name] = fixed[name]
	}
}

// complete gives what every connection needs, or says that it is missing.
func (s section) complete(part *params.Reader, field string) {
	if _, given := s["dpd_delay"]; !given {
		s["dpd_delay"] = dpdDelay
	}
	if list, _ := s["remote_addrs"].([]string); len(list) == 0 {
		part.Problem(field+".remote_addrs", "it is missing: give the address of the peer, such as 192.0.2.2")
	}
}

func checkChildren(part *params.Reader, field string, children section) {
	if len(children) == 0 {
		part.Problem(field, "it is missing: give the tunnel's traffic, as children: {NAME: {local_ts: …, remote_ts: …}}")
	}
	for _, name := range slices.Sorted(maps.Keys(children)) {
		child, ok := children[name].(section)
		if !ok {
			part.Problem(field+"."+name, "it is not a map of fields")
			continue
		}
		for _, action := range []string{"start_action", "close_action"} {
			if got := child[action]; got != nil && got != "none" {
				part.Problem(field+"."+name+"."+action, "it is always none here, since keyorch says when to initiate: leave it out")
			}
		}
	}
}

// section is the section name of s; nil when there is none.
func (s section) section(name string) section {
	inner, _ := s[name].(section)
	return inner
}

// convert brings a map of the topology into the form that VICI wants.
func convert(part *params.Reader, at string, free map[string]any) section {
	s := make(section, len(free))
	for _, name := range slices.Sorted(maps.Keys(free)) {
		field := at + "." + name
		value := free[name]
		switch {
		case name == "" || len(name) > maxFieldName:
			part.Problem(field, "the name of a field has 1 to %d bytes", maxFieldName)
		case name == "certs" || name == "cacerts" || name == "pubkeys":
			part.Problem(field, "files are not read here: load the certificate with swanctl, and name it by the id")
		case value == nil: // as if it were not there
		default:
			if v := convertValue(part, field, name, value); v != nil {
				s[name] = v
			}
		}
	}
	return s
}

func convertValue(part *params.Reader, field, name string, value any) any {
	if inner, ok := value.(map[string]any); ok {
		return convert(part, field, inner)
	}
	var list []string
	items, many := value.([]any)
	if given, ok := value.([]string); ok {
		many = true
		for _, one := range given {
			items = append(items, one)
		}
	}
	if !many {
		items = []any{value}
	}
	for _, item := range items {
		s, ok := scalar(item)
		if !ok || len(s) > maxFieldText {
			part.Problem(field, "it is not a text of at most %d bytes", maxFieldText)
			return nil
		}
		list = append(list, s)
	}
	switch {
	case many:
		return list
	case isList(name):
		return splitList(list[0])
	}
	return list[0]
}

// splitList is a list as swanctl.conf writes it.
func splitList(s string) []string {
	var list []string
	for one := range strings.SplitSeq(s, ",") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	return list
}

// scalar is a value of YAML or JSON as swanctl.conf has it.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		if v {
			return "yes", true
		}
		return "no", true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case int, int64, uint64:
		return fmt.Sprint(v), true
	}
	return "", false
}

// message is s for VICI, its fields in the order of their names.
func (s section) message() *vici.Message {
	m := vici.NewMessage()
	for _, name := range slices.Sorted(maps.Keys(s)) {
		value := s[name]
		if inner, ok := value.(section); ok {
			value = inner.message()
		}
		_ = m.Set(name, value) // convert left only what VICI has
	}
	return m
}

// children are the names of the CHILD_SAs of a connection.
func (s section) children() []string { return slices.Sorted(maps.Keys(s.section("children"))) }
