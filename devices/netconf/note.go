package netconf

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/keychain"
)

// note is what stands in the description of a key chain: which key is under which
// key-id. It holds nothing secret.
type note struct {
	before string // what an operator wrote, which is kept
	link   keychain.LinkID
	refs   map[uint64]keychain.Ref
	// waits names the change that has been committed but not confirmed, or is empty;
	// limit is how long the device waits for that.
	waits string
	limit time.Duration
}

// noteForm is a note at the end of a description.
var noteForm = regexp.MustCompile(`(?:^|\s)keyorch ([a-z0-9-]+)((?: \d+=e\d+-[0-9a-f]+)*)(?: unconfirmed=([0-9a-f]+)/(\d+)s)?\s*$`)

// parseNote reads a description. One that has no note, or one that somebody has
// changed beyond reading, has no entries: every key is a stranger's then.
func parseNote(description string) note {
	at := noteForm.FindStringSubmatchIndex(description)
	if at == nil {
		return note{before: strings.TrimSpace(description)}
	}
	m := noteForm.FindStringSubmatch(description)
	n := note{before: strings.TrimSpace(description[:at[0]]), link: keychain.LinkID(m[1]), refs: map[uint64]keychain.Ref{}, waits: m[3]}
	for entry := range strings.FieldsSeq(m[2]) {
		id, label, _ := strings.Cut(entry, "=")
		number, err := strconv.ParseUint(id, 10, 64)
		ref, ok := keying.ParseLabel(label)
		if err == nil && ok {
			n.refs[number] = ref
		}
	}
	if n.waits != "" {
		seconds, err := strconv.Atoi(m[4])
		if err != nil || seconds > int(time.Hour/time.Second) {
			seconds = int(time.Hour / time.Second)
		}
		n.limit = time.Duration(seconds) * time.Second
	}
	return n
}

// String is the description.
func (n note) String() string {
	var b strings.Builder
	if n.before != "" {
		b.WriteString(n.before + " ")
	}
	b.WriteString("keyorch " + string(n.link))
	var ids []uint64
	for id := range n.refs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		fmt.Fprintf(&b, " %d=%s", id, keying.Label(n.refs[id]))
	}
	if n.waits != "" {
		fmt.Fprintf(&b, " unconfirmed=%s/%ds", n.waits, int(n.limit/time.Second))
	}
	return b.String()
}
