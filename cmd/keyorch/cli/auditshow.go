package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// trailFilter is which records are shown. Empty fields let everything through.
type trailFilter struct {
	link, by, kind, campaign, node, site string
	since                                since
	limit                                int
}

func (a *app) auditShowVerb() *cobra.Command {
	var q trailFilter
	var evidenceFile, unpack string
	c := &cobra.Command{
		Use:   "show",
		Short: "Show records of the audit trail, the latest last",
		Long: `Show prints what the trail says, as far as it is in the chain: what happened a moment
ago follows within a second. It reads what etcd has and verifies nothing: that is what
"audit export" and "audit verify" are for.`,
		Example: `  keyorch audit show --link dc1-dc2 --since 24h
  keyorch audit show --by keyorch-operator.alice --kind operator -o json`,
		Args: noArguments,
	}
	f := c.Flags()
	f.StringVar(&q.link, "link", "", "only of this link")
	f.StringVar(&q.by, "by", "", "only by this identity, as its certificate has it")
	f.StringVar(&q.kind, "kind", "", "only of this kind: "+kindNames())
	f.StringVar(&q.campaign, "campaign", "", "only of this campaign")
	f.StringVar(&q.node, "node", "", "only of this node")
	f.StringVar(&q.site, "site", "", "only of this site")
	f.Var(&q.since, "since", "only from this time on: 36h or 2026-01-02T15:04:05Z")
	f.IntVar(&q.limit, "limit", 100, "how many at most, the latest; 0 shows all")
	f.StringVar(&evidenceFile, "evidence", "", "print what an evidence file says, in place of the trail")
	f.StringVar(&unpack, "unpack", "", "with --evidence: write statements and signatures into this directory, for ssh-keygen -Y verify")
	out := formatFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if evidenceFile != "" {
			return a.showEvidence(evidenceFile, unpack, *out)
		}
		if err := q.valid(); err != nil {
			return err
		}
		s, err := a.openStore(c.Context())
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		var shown []numbered
		err = audit.Read(c.Context(), s.Trail(), 0, func(seq uint64, r audit.Record) error {
			if q.lets(r) {
				shown = append(shown, numbered{seq, r})
			}
			if q.limit > 0 && len(shown) > 2*q.limit {
				shown = append(shown[:0:0], shown[len(shown)-q.limit:]...)
			}
			return nil
		})
		if q.limit > 0 && len(shown) > q.limit {
			shown = shown[len(shown)-q.limit:]
		}
		if err != nil && !fault.Is(err, fault.Mismatch) {
			return err
		}
		if *out != asTable {
			return errorsAfter(out.print(a.out, map[string]any{"items": append([]numbered{}, shown...)}), err)
		}
		printTrail(a.out, shown)
		return err
	}
	return c
}

// since is a time that is given as such, or as how long ago it was.
type since time.Time

// String, Set and Type make it a flag.
func (s *since) String() string {
	if time.Time(*s).IsZero() {
		return ""
	}
	return stamp(time.Time(*s))
}

// Type is what --help calls it.
func (s *since) Type() string { return "time" }

// Set refuses what is no time.
func (s *since) Set(text string) error {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		*s = since(at)
		return nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago < 0 {
		return fmt.Errorf("give a time like 2026-01-02T15:04:05Z, or how long ago, like 36h")
	}
	*s = since(time.Now().Add(-ago))
	return nil
}

// numbered is a record with its number in the chain.
type numbered struct {
	Seq uint64 `json:"seq"`
	audit.Record
}

func kindNames() string {
	var names []string
	for _, k := range audit.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func (q trailFilter) valid() error {
	if q.limit < 0 {
		return fault.New(fault.Invalid, "--limit %d: it cannot be negative", q.limit)
	}
	for _, k := range audit.Kinds() {
		if q.kind == "" || q.kind == string(k) {
			return nil
		}
	}
	return fault.New(fault.Invalid, "--kind %q: there are %s", q.kind, kindNames())
}

func (q trailFilter) lets(r audit.Record) bool {
	return (q.link == "" || r.Link == keychain.LinkID(q.link)) && (q.by == "" || r.By == q.by) && (q.kind == "" || string(r.Kind) == q.kind) &&
		(q.campaign == "" || r.Campaign == q.campaign) && (q.node == "" || r.Node == keychain.NodeID(q.node)) &&
		(q.site == "" || r.Site == keychain.SiteID(q.site)) && !r.At.Before(time.Time(q.since))
}

func printTrail(w io.Writer, shown []numbered) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "SEQ\tTIME\tBY\tKIND\tWHAT\tABOUT")
	for _, r := range shown {
		_, _ = fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", r.Seq, stamp(r.At), clean(r.By), r.Kind, clean(r.Verb), clean(about(r.Record)))
	}
	_ = t.Flush()
}

// about is what a record is about, in a line.
func about(r audit.Record) string {
	var parts []string
	say := func(format string, a ...any) { parts = append(parts, fmt.Sprintf(format, a...)) }
	if r.Link != "" {
		say("link %s", r.Link)
	}
	if r.Node != "" {
		say("node %s", r.Node)
	}
	if r.Site != "" {
		say("site %s", r.Site)
	}
	if r.Turn > 0 {
		say("turn %d", r.Turn)
	}
	if r.Epoch > 0 {
		say("epoch %s", keychain.Ref{Epoch: r.Epoch, KCV: r.KCV})
	}
	if r.Campaign != "" {
		say("campaign %s", r.Campaign)
	}
	if e := r.Entered; e != nil && len(e.Confirmed) > 0 {
		say("confirmed by %d", len(e.Confirmed))
	}
	for _, key := range []string{"kind", "name", "identity"} {
		if v := r.Details[key]; v != "" && r.Kind != audit.Campaign {
			say("%s", v)
		}
	}
	if r.Outcome != "" {
		say("%s", r.Outcome)
	}
	if r.Reason != "" {
		say("(%s)", r.Reason)
	}
	return strings.Join(parts, " ")
}

// clean is text that does nothing to a terminal: whoever has an identity chooses what
// its records say.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
