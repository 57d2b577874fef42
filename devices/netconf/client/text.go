package client

import (
	"encoding/xml"
	"strings"
)

// Text writes s as character data of XML.
func Text(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
