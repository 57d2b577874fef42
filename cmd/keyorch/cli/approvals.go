package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

func (a *app) approvalsVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "approvals",
		Short: "List, show, sign and reject requests for approvals",
		Long: `Where a rule (kind ApprovalRule) asks for it, a verb is carried out only when others
have signed exactly what it would do. What is signed is a statement that a person can
read, with the digest of the plan in it, by a key that the rule lists: one in a file,
in ssh-agent or on a hardware key. Nobody approves what they asked for themselves.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.approvalsListVerb(), a.approvalsShowVerb())
	c.AddCommand(a.changes(a.approvalsSignVerb(), a.approvalsRejectVerb())...)
	return c
}

func (a *app) approvalsListVerb() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List the requests that wait for approvals", Args: noArguments,
		Example: "  keyorch approvals list --all",
	}
	c.Flags().BoolVar(&all, "all", false, "also those that have ended")
	out := formatFlag(c)
	c.RunE = a.inWorld(func(_ context.Context, w *world, _ []string) error {
		now := time.Now()
		l := &listed{header: []string{"REQUEST", "VERB", "ASKED BY", "STATE", "UNTIL", "MISSING"}}
		for _, asked := range w.view.AllAsked() {
			doc := w.requestDoc(asked, now)
			if !all && doc.State != approval.Wanted && doc.State != approval.Approved {
				continue
			}
			l.add(doc.ID, doc, string(doc.Plan.Verb), asked.By, string(doc.State), stamp(asked.Request.Expires), dash(doc.Missing))
		}
		if *out != asTable {
			return out.print(a.out, map[string]any{"items": append([]any{}, l.docs...)})
		}
		table(a.out, l.header, l.rows)
		return nil
	})
	return c
}

// requestDoc is a request for programs.
type requestDoc struct {
	ID      string         `json:"id"`
	By      string         `json:"askedBy"`
	At      time.Time      `json:"at"`
	Expires time.Time      `json:"expires"`
	Digest  string         `json:"digest"`
	Plan    approval.Plan  `json:"plan"`
	State   approval.State `json:"state"`
	Missing string         `json:"missing,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	// UsedFor is what it was used for.
	UsedFor   string              `json:"usedFor,omitempty"`
	Rules     []approval.Standing `json:"rules,omitempty"`
	Refused   []approval.Refusal  `json:"refused,omitempty"`
	Statement string              `json:"statement"`
	Votes     []voteDoc           `json:"votes,omitempty"`
}

type voteDoc struct {
	By string `json:"by"`
	approval.Vote
}

func (w *world) requestDoc(a approval.Asked, now time.Time) requestDoc {
	r, d := a.Request, a.Decide(w.view.Rules(), now)
	doc := requestDoc{
		ID: r.ID(), By: a.By, At: r.At, Expires: r.Expires, Digest: r.Plan.Digest(), Plan: r.Plan, State: d.State, Reason: d.Reason,
		Rules: d.Rules, Refused: d.Refused, Statement: string(r.Statement().Bytes()),
	}
	if d.State == approval.Wanted {
		doc.Missing = d.Missing()
	}
	if a.Ended != nil {
		doc.UsedFor = a.Ended.For
	}
	for _, v := range a.Votes {
		doc.Votes = append(doc.Votes, voteDoc{v.By, v})
	}
	return doc
}

// asStatement is a format of approvals show alone.
const asStatement = "statement"

func (a *app) approvalsShowVerb() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "show REQUEST", Short: "Show what is to be approved, and who has",
		Example: `  keyorch approvals show ap-20260301-120000-2e518e240c2f81b6
  keyorch approvals show ap-20260301-120000-2e518e240c2f81b6 -o statement > statement`,
		Args:              named(1, 1, "name one request: see keyorch approvals list"),
		ValidArgsFunction: a.completeRequests,
	}
	c.Flags().StringVarP(&out, "output", "o", string(asTable), "how to print: table, json, yaml, or statement: exactly the bytes that are signed")
	c.RunE = a.inWorld(func(_ context.Context, w *world, args []string) error {
		asked, err := w.request(args[0])
		if err != nil {
			return err
		}
		doc := w.requestDoc(asked, time.Now())
		f := asTable
		switch {
		case out == asStatement:
			_, err := fmt.Fprint(a.out, doc.Statement)
			return err
		case f.Set(out) != nil:
			return fault.New(fault.Invalid, "-o %s: use table, json, yaml or statement", out)
		case f != asTable:
			return f.print(a.out, doc)
		}
		_, _ = fmt.Fprintln(a.out, doc.Statement)
		a.printStanding(doc)
		return nil
	})
	return c
}

func (a *app) printStanding(doc requestDoc) {
	for _, s := range doc.Rules {
		_, _ = fmt.Fprintf(a.out, "rule %s: %d of %d\n", s.Rule, len(s.By), s.Needed)
		for _, by := range s.By {
			_, _ = fmt.Fprintf(a.out, "  %s has signed at %s with %s\n", by.Name, stamp(by.At), by.Key)
		}
		if len(s.Open) > 0 && doc.State == approval.Wanted {
			_, _ = fmt.Fprintf(a.out, "  may still sign: %s\n", strings.Join(s.Open, ", "))
		}
	}
	for _, r := range doc.Refused {
		_, _ = fmt.Fprintf(a.out, "what %s has signed does not count: %s\n", r.By, r.Reason)
	}
	_, _ = fmt.Fprintf(a.out, "state: %s", doc.State)
	if why := doc.Reason + doc.UsedFor; why != "" {
		_, _ = fmt.Fprintf(a.out, ": %s", why)
	}
	_, _ = fmt.Fprintln(a.out)
}

// request finds one by its ID.
func (w *world) request(id string) (approval.Asked, error) {
	if err := approval.ValidID(id); err != nil {
		return approval.Asked{}, err
	}
	asked, ok := w.view.Asked(id)
	if !ok {
		return asked, fault.New(fault.Invalid, "find request %s: there is none: see keyorch approvals list --all", id)
	}
	return asked, nil
}

func (a *app) completeRequests(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	s, err := a.openStore(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer func() { _ = s.Close() }()
	now, _ := s.Approvals(c.Context())
	var ids []string
	for _, asked := range now.Asked {
		if asked.Ended == nil {
			ids = append(ids, asked.Request.ID())
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) approvalsSignVerb() *cobra.Command {
	var key, signature string
	c := &cobra.Command{
		Use: "sign REQUEST [--key FILE | --signature FILE]", Short: "Approve a request with a signature",
		Long: `Sign shows the statement and has ssh-keygen sign it, with the key in --key, or with
the one that ssh-agent has of your keys in the rules that ask for this. A hardware
key wants to be touched, and has ssh-keygen ask for its PIN where the rule wants one.

Where the key is elsewhere, take the statement there and bring the signature back:

  keyorch approvals show REQUEST -o statement > statement
  ssh-keygen -Y sign -n keyorch-approval -f KEY statement
  keyorch approvals sign REQUEST --signature statement.sig`,
		Args:              named(1, 1, "name one request: see keyorch approvals list"),
		ValidArgsFunction: a.completeRequests,
	}
	c.Flags().StringVar(&key, "key", "", "the file with your private key, or with the public one whose other half ssh-agent has")
	c.Flags().StringVar(&signature, "signature", "", "a file that ssh-keygen -Y sign has made")
	c.MarkFlagsMutuallyExclusive("key", "signature")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		asked, err := w.request(args[0])
		if err != nil {
			return err
		}
		d := asked.Decide(w.view.Rules(), time.Now())
		if w.view.Rules().Broken {
			return fault.New(fault.Refused, "sign %s: %s", args[0], d.Reason)
		}
		if d.State != approval.Wanted && d.State != approval.Approved {
			return fault.New(fault.Refused, "sign %s: it is %s", args[0], strings.TrimSuffix(string(d.State)+": "+d.Reason, ": "))
		}
		var armored []byte
		if signature != "" {
			armored, err = os.ReadFile(signature)
			err = fault.Wrap(fault.Invalid, err, "--signature")
		} else {
			_, _ = fmt.Fprintf(a.err, "%s\n", asked.Request.Statement().Bytes())
			armored, err = w.sshSign(ctx, key, asked.Request)
		}
		if err != nil {
			return err
		}
		return w.approve(ctx, asked, armored)
	})
	return c
}

// approve hands a signature in, when it counts.
func (w *world) approve(ctx context.Context, asked approval.Asked, armored []byte) error {
	id := asked.Request.ID()
	s, err := approval.ParseSignature(armored)
	if err != nil {
		return err
	}
	v := approval.Vote{By: w.by(), At: time.Now().UTC(), Signature: string(armored)}
	alone := asked
	alone.Votes = []approval.Vote{v}
	d := alone.Decide(w.view.Rules(), time.Now())
	if len(d.Refused) > 0 {
		return fault.New(fault.Refused, "sign %s: %s", id, d.Refused[0].Reason)
	}
	err = w.store.Vote(ctx, id, v, audit.Record{
		Kind: audit.Approval, Verb: "signed", Approval: id, Reason: asked.Request.Plan.Reason,
		Details: map[string]string{"key": s.Key.Fingerprint(), "plan": asked.Request.Plan.Digest(), "signature": string(armored)},
	})
	if err != nil {
		return err
	}
	if err := w.view.CatchUp(ctx); err != nil {
		return err
	}
	asked, _ = w.view.Asked(id)
	d = asked.Decide(w.view.Rules(), time.Now())
	missing := d.Missing()
	if missing == "" {
		missing = "nothing"
	}
	_, err = fmt.Fprintf(w.app.out, "%s: signed with %s; still missing: %s\n", id, s.Key.Fingerprint(), missing)
	return err
}

func (a *app) approvalsRejectVerb() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "reject REQUEST --reason TEXT", Short: "Reject a request: it cannot be approved any more",
		Args: named(1, 1, "name one request: see keyorch approvals list"), ValidArgsFunction: a.completeRequests,
	}
	c.Flags().StringVar(&reason, "reason", "", "why: it is kept (required)")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		if reason == "" {
			return fault.New(fault.Invalid, "--reason: say why; it is kept")
		}
		asked, err := w.request(args[0])
		if err != nil {
			return err
		}
		v := approval.Vote{By: w.by(), At: time.Now().UTC(), Rejected: reason}
		alone := asked
		alone.Votes = []approval.Vote{v}
		if d := alone.Decide(w.view.Rules(), time.Now()); d.State != approval.Rejected || asked.Ended != nil {
			return fault.New(fault.Refused, "reject %s: it is %s, and %s is no approver of it that could", args[0], d.State, w.by())
		}
		err = w.store.Vote(ctx, args[0], v, audit.Record{
			Kind: audit.Approval, Verb: "rejected", Approval: args[0], Reason: reason, Details: map[string]string{"plan": asked.Request.Plan.Digest()},
		})
		if err == nil {
			_, err = fmt.Fprintf(a.out, "%s: rejected\n", args[0])
		}
		return err
	})
	return c
}
