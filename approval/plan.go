package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyorch/keyorch/keychain"
)

// Verb is what may need approvals.
type Verb string

// The verbs.
const (
	// RotateForced is a rotation whatever windows and freezes say.
	RotateForced Verb = "rotate-force"
	// AbortSwitched takes back rotations that have switched.
	AbortSwitched Verb = "abort-switched"
	Compromise    Verb = "compromise"
	Revoke        Verb = "revoke"
	// Policies changes policies, or which policy a link has.
	Policies Verb = "policies"
	// Rules changes the rules of approvals.
	Rules Verb = "rules"
)

// Verbs are all of them.
func Verbs() []Verb {
	return []Verb{RotateForced, AbortSwitched, Compromise, Revoke, Policies, Rules}
}

// Plan is exactly what is approved: whatever makes a difference is in it, and with
// it in the digest. Lists are sorted.
type Plan struct {
	Verb Verb `json:"verb"`
	// About is whom compromise and revoke shut out, or the campaigns that an abort
	// takes back.
	About []string `json:"about,omitempty"`
	Links []Link   `json:"links,omitempty"`
	// Policy is the one by whose waves and budget a campaign runs.
	Policy        string `json:"policy,omitempty"`
	IgnoreWindows bool   `json:"ignoreWindows,omitempty"`
	Reason        string `json:"reason,omitempty"`
	// Requester is the common name of who asks.
	Requester string `json:"requester"`
	// Changes are those of policies and rules, sorted by What.
	Changes []Change `json:"changes,omitempty"`
}

// Link is a link of a plan: who would have the new key, and, for an abort, which
// rotation would be taken back.
type Link struct {
	Name       keychain.LinkID   `json:"name"`
	Upstream   []keychain.NodeID `json:"upstream,omitempty"`
	Downstream []keychain.NodeID `json:"downstream,omitempty"`
	Campaign   string            `json:"campaign,omitempty"`
	Epoch      keychain.Epoch    `json:"epoch,omitempty"`
}

// Change is one document before and after, as JSON in one line; empty: none.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Digest is "sha256:" and the SHA-256 of "keyorch-approval plan 1\n" and the plan
// as JSON: the fields in the order of Plan, no blanks. Equal plans have equal digests.
func (p Plan) Digest() string {
	b, err := json.Marshal(p)
	if err != nil { // texts and numbers can always be written
		panic("approval: a plan cannot be written: " + err.Error())
	}
	sum := sha256.Sum256(append([]byte("keyorch-approval plan 1\n"), b...))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// listed is how many links a statement names; the digest has all of them.
const listed = 50

// Words is the plan in words, a sentence or a link a line.
func (p Plan) Words() []string {
	var lines []string
	say := func(format string, a ...any) { lines = append(lines, fmt.Sprintf(format, a...)) }
	about := strings.Join(p.About, ", ")
	switch p.Verb {
	case RotateForced:
		say("Give %s a new key, though windows or freezes forbid it.", count(len(p.Links)))
	case AbortSwitched:
		if about != "" {
			say("Take back everything of %s, also what has switched to its new key.", about)
		}
		if len(p.Links) > 0 {
			say("Take %s back to the key before, though upstream may send with the new one already.", count(len(p.Links)))
		}
	case Compromise:
		say("Exclude %s, and give %s a new key without it at once, whatever windows say.", about, count(len(p.Links)))
	case Revoke:
		say("Shut out %s: its rights, its logins and its certificate end.", about)
		if len(p.Links) > 0 {
			say("Give %s a new key without it at once, whatever windows say.", count(len(p.Links)))
		}
	case Policies:
		say("Change how links are rotated, in %s:", places(len(p.Changes)))
	case Rules:
		say("Change who has to approve what, in %s:", places(len(p.Changes)))
	}
	if p.Policy != "" {
		say("The campaign runs by policy %s.", p.Policy)
	}
	for _, c := range p.Changes {
		say("%s: from %s", c.What, document(c.Before))
		say("%s: to %s", c.What, document(c.After))
	}
	for i, l := range p.Links {
		if i == listed {
			say("and %d more links, which the digest of the plan covers", len(p.Links)-listed)
			break
		}
		say("%s", l.words())
	}
	return lines
}

func count(links int) string {
	if links == 1 {
		return "1 link"
	}
	return strconv.Itoa(links) + " links"
}

func places(n int) string {
	if n == 1 {
		return "1 document"
	}
	return strconv.Itoa(n) + " documents"
}

func document(text string) string {
	if text == "" {
		return "nothing"
	}
	return plain(text)
}

// plain is text as one line without anything that a terminal would act on.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

func (l Link) words() string {
	text := "link " + string(l.Name)
	if len(l.Upstream) > 0 || len(l.Downstream) > 0 {
		text += ": " + joined(l.Upstream) + " to " + joined(l.Downstream)
	}
	if l.Campaign != "" {
		text += fmt.Sprintf(", epoch %d of %s", l.Epoch, l.Campaign)
	}
	return plain(text)
}

func joined(nodes []keychain.NodeID) string {
	if len(nodes) == 0 {
		return "nobody"
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = string(n)
	}
	return strings.Join(names, ", ")
}

// Sorted is p with its lists in order, as Digest needs them.
func (p Plan) Sorted() Plan {
	p.About, p.Links, p.Changes = slices.Clone(p.About), slices.Clone(p.Links), slices.Clone(p.Changes)
	slices.Sort(p.About)
	slices.SortFunc(p.Links, func(a, b Link) int { return strings.Compare(string(a.Name), string(b.Name)) })
	slices.SortFunc(p.Changes, func(a, b Change) int { return strings.Compare(a.What, b.What) })
	for i, l := range p.Links {
		l.Upstream, l.Downstream = slices.Clone(l.Upstream), slices.Clone(l.Downstream)
		slices.Sort(l.Upstream)
		slices.Sort(l.Downstream)
		p.Links[i] = l
	}
	return p
}
