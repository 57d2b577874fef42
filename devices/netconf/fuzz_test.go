package netconf

import (
	"encoding/xml"
	"strings"
	"testing"
)

// FuzzChain: whatever a device sends of its key chains, the keys are sorted, only
// what the note names is ours, and a refusal shows no word of a key-string, which a
// device that does not filter may send.
func FuzzChain(f *testing.F) {
	life := "<start-date-time>2026-11-28T11:00:00Z</start-date-time><end-date-time>2026-11-28T13:00:00Z</end-date-time>"
	const secret = "<key-string><keystring>kH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVa</keystring></key-string>"
	for _, inner := range []string{
		"", "<key-chain><name>c1</name><description>x keyorch l1 1=e1-0f1e2d3c4b 2=e2-a1b2c3d4e5 unconfirmed=00/30s</description>" + xmlKey(1, life, life) + xmlKey(2, "<always/>", "") + "</key-chain>",
		"<key-chain><name>c1</name>" + xmlKey(-1, "", "") + "</key-chain>",
		"<key-chain><name>c1</name><key><key-id>1</key-id>" + secret + "<lifetime><send-lifetime><start-date-time>x</start-date-time></send-lifetime></lifetime></key></key-chain>",
		"<key-chain><name>c1</name><key><key-id>kH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVa</key-id></key></key-chain>", "<key-chain><name>c2</name></key-chain>",
		"<key-chain><name>c1</name><key><key-id>1</key-id><lifetime><send-accept-lifetime><start-date-time>2026-01-01T00:00:00Z</start-date-time><duration>9223372036854775807</duration></send-accept-lifetime></lifetime></key></key-chain>",
	} {
		f.Add(inner)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		var got tree
		if xml.Unmarshal([]byte(`<data><key-chains xmlns="`+namespace8177+`">`+inner+`</key-chains></data>`), &got) != nil {
			return
		}
		c, err := chainOf(got, "c1", now)
		if err != nil {
			if len(err.Error()) > 150 || strings.Contains(err.Error(), "kH8vN2qL") {
				t.Errorf("says %q", err)
			}
			return
		}
		for i, k := range c.keys {
			if i > 0 && c.keys[i-1].id > k.id {
				t.Errorf("the keys are not sorted: %+v", c.keys)
			}
			if ref := c.note.refs[k.id]; ref != k.ref {
				t.Errorf("key %d is %v, and the note says %v", k.id, k.ref, ref)
			}
		}
		if c.judge("c1", "l1") == nil {
			_ = c.accepted()
			_, _ = c.sent("c1")
		}
	})
}
