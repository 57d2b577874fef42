package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// What the trail says became of a verb.
const (
	// outcomeAsked is what was handed to a worker, to Vault or to Temporal next. What became of it
	// is told by whoever does it; a refusal follows as a record of its own.
	outcomeAsked = "asked"
	// outcomeDone is what was written in the record's own transaction.
	outcomeDone = "done"
)

// deed is the record of a verb that a person uses: r with what all of them have. Who it was
// is put in by the trail.
func deed(verb, outcome string, r audit.Record) audit.Record {
	r.Kind, r.Verb, r.Outcome = audit.Operator, verb, outcome
	return r
}

// announce writes down what is about to be asked for. When that cannot be written, nothing is
// asked for.
func (w *world) announce(ctx context.Context, r audit.Record) error {
	return announce(ctx, w.store, r)
}

func announce(ctx context.Context, s *store.Store, r audit.Record) error {
	return unsaid(s.Append(ctx, r))
}

// unsaid is that a verb does nothing, since it could not be written down.
func unsaid(err error) error {
	return fault.Wrap(fault.Of(err), err, "write down who asks for this, so nothing was done")
}

// by is who asks a campaign for something.
func (w *world) by() string {
	if w.app.plain {
		return "operator" // nobody has a name there
	}
	return w.store.User()
}

// mostNamed is how many names a record lists.
const mostNamed = 50

// oneLine is names in one line of a record.
func oneLine[S ~string](names []S) string {
	var words []string
	for i, n := range names {
		if i == mostNamed {
			words = append(words, fmt.Sprintf("and %d more", len(names)-mostNamed))
			break
		}
		words = append(words, string(n))
	}
	return strings.Join(words, " ")
}

// only is the one link that a verb is about, or none.
func only(ids []keychain.LinkID) keychain.LinkID {
	if len(ids) == 1 {
		return ids[0]
	}
	return ""
}

// changes has the trail told when one of these verbs, which change something, is refused.
func (a *app) changes(verbs ...*cobra.Command) []*cobra.Command {
	for _, c := range verbs {
		for _, sub := range c.Commands() {
			a.changes(sub)
		}
		run := c.RunE
		if run == nil || c.HasSubCommands() {
			continue
		}
		c.RunE = func(c *cobra.Command, args []string) error {
			err := run(c, args)
			if dry := c.Flags().Lookup("dry-run"); dry == nil || dry.Value.String() != "true" {
				a.tellRefusal(c.Context(), strings.TrimPrefix(c.CommandPath(), "keyorch "), args, err)
			}
			return err
		}
	}
	return verbs
}

const (
	// refusalTime is how long a verb that was refused waits for the trail.
	refusalTime = 5 * time.Second
	// longestReason is how much of an error a record holds, in bytes.
	longestReason = 2000
)

// tellRefusal writes down that a verb was refused, where etcd lets it. A verb that has told
// more itself, object by object, ends with an exit code of its own.
func (a *app) tellRefusal(ctx context.Context, verb string, args []string, err error) {
	if err == nil || errors.As(err, new(*exitError)) || ExitCode(err) != exitRefused {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalTime)
	defer cancel()
	s, opened := a.openStore(ctx)
	if opened != nil {
		return // it has no way to the trail
	}
	defer func() { _ = s.Close() }()
	_ = s.Append(ctx, refusal(verb, args, err)) // neither may it be told
}

func refusal(verb string, about []string, err error) audit.Record {
	reason := err.Error()
	if len(reason) > longestReason {
		reason = strings.ToValidUTF8(reason[:longestReason], "") + "…"
	}
	r := audit.Record{Kind: audit.Refusal, Verb: verb, Reason: reason, Outcome: fault.Of(err).String()}
	if len(about) > 0 {
		r.Details = map[string]string{"about": oneLine(about)}
	}
	return r
}
