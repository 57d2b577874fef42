package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/store"
)

// approving is on the strength of which approvals a verb is used.
type approving struct {
	id   string
	wait bool
}

func (q *approving) flags(c *cobra.Command) {
	c.Flags().StringVar(&q.id, "approval", "", "the request for approvals that lets this be done: see keyorch approvals")
	c.Flags().BoolVar(&q.wait, "wait-approval", false, "when approvals are needed, wait for them and go on")
}

// waited reports whether a verb has waited for the approvals of the request that it got.
func (q approving) waited(id string) bool { return id != "" && q.id == "" }

// consent is the ID of the request that lets something be done, empty when none is
// needed. Without one it asks for approvals, and waits for them or ends the command.
func (w *world) consent(ctx context.Context, need approval.Need, q approving) (string, error) {
	rules := w.view.Rules()
	if !rules.Asks(need) {
		return "", nil
	}
	if q.id != "" {
		if err := w.view.CatchUp(ctx); err != nil {
			return "", err
		}
		_, why := rules.Consent(need, q.id, w.view.Asked, time.Now())
		if why != "" {
			return "", fault.New(fault.Refused, "%s", why)
		}
		return q.id, nil
	}
	if rules.Broken {
		return "", fault.New(fault.Refused, "the rules of approvals in force cannot be read: see keyorch doctor")
	}
	need.Plan.Requester = w.by()
	r := approval.NewRequest(need.Plan, time.Now(), approval.Good(rules.Asking(need)))
	if err := w.store.Ask(ctx, r, askedRecord(r)); err != nil {
		return "", err
	}
	d := approval.Decide(r, rules.Asking(need), nil, time.Now())
	w.app.sayWanted(r, d)
	if !q.wait {
		_, _ = fmt.Fprintf(w.app.err, "then go on with\n  %s --approval %s\n", w.app.commandLine(), r.ID())
		return "", &exitError{code: exitRefused}
	}
	return r.ID(), w.untilApproved(ctx, need, r.ID())
}

// askedRecord is what the trail says of a request: the statement is in it.
func askedRecord(r approval.Request) audit.Record {
	rec := audit.Record{
		Kind: audit.Approval, Verb: "asked", Approval: r.ID(), Reason: r.Plan.Reason,
		Details: map[string]string{"verb": string(r.Plan.Verb), "plan": r.Plan.Digest(), "expires": stamp(r.Expires)},
	}
	if b := r.Statement().Bytes(); len(b) < mostSaid {
		rec.Details["statement"] = string(b)
	}
	return rec
}

// mostSaid is the longest statement that a record of the trail has in it, in bytes.
const mostSaid = 64 << 10

// sayWanted says who has to sign, and by when.
func (a *app) sayWanted(r approval.Request, d approval.Decision) {
	_, _ = fmt.Fprintf(a.err, "keyorch: %s needs approvals; nothing was changed\nrequest %s, until %s: %s\n",
		r.Plan.Verb, r.ID(), stamp(r.Expires), d.Missing())
	_, _ = fmt.Fprintf(a.err, "who approves it signs with\n  keyorch approvals show %s\n  keyorch approvals sign %s\n", r.ID(), r.ID())
}

// commandLine is the command as it was typed, in words that a shell takes again.
func (a *app) commandLine() string {
	words := []string{"keyorch"}
	for _, w := range a.args {
		if w == "" || strings.ContainsFunc(w, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,@%+", r)
		}) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// untilApproved waits until a request is approved.
func (w *world) untilApproved(ctx context.Context, need approval.Need, id string) error {
	sub := w.view.Subscribe(nil)
	defer sub.Close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		rules, now := w.view.Rules(), time.Now()
		a, ok := w.view.Asked(id) // once: the signature that was missing may come in between
		_, why := rules.Consent(need, id, func(string) (approval.Asked, bool) { return a, ok }, now)
		if why == "" {
			return nil
		}
		if ok && a.Decide(rules, now).State != approval.Wanted {
			return fault.New(fault.Refused, "%s", why)
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Refused, "approval %s: %s", id, "still missing")
		case <-sub.C:
			sub.Take()
		case <-tick.C:
		}
	}
}

// awaitedByRules asks for approvals of what was declared and does not count yet. It
// gives an exit code of its own when there is any.
func (a *app) awaitedByRules(ctx context.Context, s *store.Store, reason string) error {
	t, err := s.Topology(ctx)
	if err != nil {
		return err
	}
	now, err := s.Approvals(ctx)
	if err != nil && !fault.Is(err, fault.Mismatch) {
		return err
	}
	if now.Rules.Revision == 0 {
		return nil // the first rules count as soon as a worker sees them
	}
	plans := []approval.Plan{{Verb: approval.Rules}, {Verb: approval.Policies}}
	for _, c := range t.ChangedRules(now.Rules.Rules) {
		if now.Rules.Asks(approval.Need{Plan: approval.Plan{Verb: approval.Rules, Changes: []approval.Change{c}}}) {
			plans[0].Changes = append(plans[0].Changes, c)
		}
	}
	if now.Pinned != 0 {
		plans[1].Changes = t.ChangedPolicies(now.Policies)
	}
	waits := false
	for _, p := range plans {
		if len(p.Changes) == 0 {
			continue
		}
		waits = true
		p.Requester, p.Reason = requesterOf(s, a.plain), reason
		r, d, err := a.askOnce(ctx, s, now, p)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(a.err, "keyorch: %s counts when it is approved: request %s, until %s: %s\n",
			oneLine(whats(p.Changes)), r.ID(), stamp(r.Expires), d.Missing())
	}
	if waits {
		_, _ = fmt.Fprintln(a.err, "who approves it signs with keyorch approvals sign; until then the old ones hold")
		return &exitError{code: exitRefused}
	}
	return nil
}

func whats(changes []approval.Change) []string {
	words := make([]string, len(changes))
	for i, c := range changes {
		words[i] = c.What + ","
	}
	words[len(words)-1] = strings.TrimSuffix(words[len(words)-1], ",")
	return words
}

func requesterOf(s *store.Store, plain bool) string {
	if plain {
		return "nobody"
	}
	return s.User()
}

// askOnce asks for approvals of a plan, unless the same person has asked already and still
// waits.
func (a *app) askOnce(ctx context.Context, s *store.Store, now store.Approvals, p approval.Plan) (approval.Request, approval.Decision, error) {
	p = p.Sorted()
	asking := approval.Asking(now.Rules.Rules, p)
	for _, old := range slices.Backward(now.Asked) {
		d := old.Decide(now.Rules, time.Now())
		if old.Ended == nil && d.State == approval.Wanted && old.Request.Plan.Digest() == p.Digest() {
			return old.Request, d, nil
		}
	}
	r := approval.NewRequest(p, time.Now(), approval.Good(asking))
	return r, approval.Decide(r, asking, nil, time.Now()), s.Ask(ctx, r, askedRecord(r))
}
