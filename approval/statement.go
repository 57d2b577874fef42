package approval

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Request asks for approvals of one plan.
type Request struct {
	Plan Plan `json:"plan"`
	// At is when it was asked, and Expires when it ends: both in UTC, in whole
	// seconds.
	At      time.Time `json:"at"`
	Expires time.Time `json:"expires"`
}

// NewRequest is a request that is good for as long as given.
func NewRequest(p Plan, now time.Time, good time.Duration) Request {
	at := now.UTC().Truncate(time.Second)
	return Request{Plan: p.Sorted(), At: at, Expires: at.Add(good).Truncate(time.Second)}
}

// ID is the request's name. It follows from all that is in it, so that what was asked
// under an ID cannot be changed.
func (r Request) ID() string {
	text := "keyorch-approval request 1\n" + r.Plan.Digest() + "\n" + stamp(r.At) + "\n" + stamp(r.Expires)
	sum := sha256.Sum256([]byte(text))
	return idStart + r.At.UTC().Format(idTime) + "-" + hex.EncodeToString(sum[:8])
}

// ValidID says with Invalid why a text cannot be the ID of a request, or nil.
func ValidID(id string) error {
	if !idForm.MatchString(id) {
		return fault.New(fault.Invalid, "%.60q is not the ID of a request for approvals: see keyorch approvals list", id)
	}
	return nil
}

// clocks is by how much those of the machines that decide may differ.
const clocks = 24 * time.Hour

// Over reports whether no request of an ID can be approved any more, whatever is in it: no
// rule lets one be good for longer than MaxDeadline. So nobody has to remember that it has ended.
func Over(id string, now time.Time) bool {
	if ValidID(id) != nil {
		return false
	}
	at, err := time.Parse(idTime, id[len(idStart):len(idStart)+len(idTime)])
	return err == nil && now.Sub(at) > MaxDeadline+clocks
}

// What the ID of a request begins with, and how it has the time.
const (
	idStart = "ap-"
	idTime  = "20060102-150405"
)

var idForm = regexp.MustCompile(`^ap-[0-9]{8}-[0-9]{6}-[0-9a-f]{16}$`)

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Statement is what is signed.
type Statement struct {
	ID        string
	Verb      Verb
	Digest    string
	Requester string
	At        time.Time
	Expires   time.Time
	Reason    string
	Words     []string
}

// Statement is what approvers of r sign.
func (r Request) Statement() Statement {
	return Statement{
		ID: r.ID(), Verb: r.Plan.Verb, Digest: r.Plan.Digest(), Requester: r.Plan.Requester, At: r.At, Expires: r.Expires,
		Reason: r.Plan.Reason, Words: r.Plan.Words(),
	}
}

const (
	statementTitle = "keyorch approval statement 1"
	statementAgree = "Who signs these lines agrees that keyorch does this, once, and before it expires:"
	// MaxStatement is the longest statement that is read, in bytes.
	MaxStatement = 4 << 20
)

// statementFields are the names of the lines at the top, in their order.
func statementFields() []string {
	return []string{"request", "verb", "plan", "asked by", "asked at", "expires at", "reason"}
}

// Bytes is exactly what is signed: UTF-8, lines that end with a line feed.
func (s Statement) Bytes() []byte {
	values := []string{s.ID, string(s.Verb), s.Digest, s.Requester, stamp(s.At), stamp(s.Expires), strconv.Quote(s.Reason)}
	var b bytes.Buffer
	b.WriteString(statementTitle + "\n")
	for i, name := range statementFields() {
		b.WriteString(name + ": " + values[i] + "\n")
	}
	b.WriteString("\n" + statementAgree + "\n\n")
	for _, w := range s.Words {
		b.WriteString("- " + w + "\n")
	}
	return b.Bytes()
}

var (
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	nameForm   = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)
)

// ParseStatement reads what Bytes wrote, and nothing else: what it accepts has exactly
// these Bytes. Faults: Invalid.
func ParseStatement(b []byte) (Statement, error) {
	if len(b) > MaxStatement {
		return Statement{}, notAStatement("it has more than %d bytes", MaxStatement)
	}
	head, words, ok := strings.Cut(string(b), "\n\n"+statementAgree+"\n\n")
	if !ok {
		return Statement{}, notAStatement("the line %q is not there", statementAgree)
	}
	lines := strings.Split(head, "\n")
	fields := statementFields()
	if len(lines) != len(fields)+1 || lines[0] != statementTitle {
		return Statement{}, notAStatement("it does not begin with %q and %d lines", statementTitle, len(fields))
	}
	values := make([]string, len(fields))
	for i, name := range fields {
		value, ok := strings.CutPrefix(lines[i+1], name+": ")
		if !ok {
			return Statement{}, notAStatement("line %d does not begin with %q", i+2, name+": ")
		}
		values[i] = value
	}
	s := Statement{ID: values[0], Verb: Verb(values[1]), Digest: values[2], Requester: values[3]}
	var err1, err2, err3 error
	s.At, err1 = time.Parse(time.RFC3339, values[4])
	s.Expires, err2 = time.Parse(time.RFC3339, values[5])
	s.Reason, err3 = strconv.Unquote(values[6])
	for _, w := range strings.SplitAfter(words, "\n") {
		if w == "" {
			continue
		}
		word, ok := strings.CutPrefix(strings.TrimSuffix(w, "\n"), "- ")
		if !ok {
			return Statement{}, notAStatement("a line of the plan does not begin with \"- \"")
		}
		s.Words = append(s.Words, word)
	}
	switch {
	case ValidID(s.ID) != nil, !slices.Contains(Verbs(), s.Verb), !digestForm.MatchString(s.Digest), !nameForm.MatchString(s.Requester),
		err1 != nil, err2 != nil, err3 != nil:
		return Statement{}, notAStatement("one of its first lines says what cannot be")
	case !bytes.Equal(s.Bytes(), b):
		return Statement{}, notAStatement("it is not written as keyorch writes it")
	}
	return s, nil
}

func notAStatement(format string, a ...any) error {
	return fault.New(fault.Invalid, "this is no statement for approvals: "+format, a...)
}
