package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/devices/exec"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func (a *app) deviceVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "device",
		Short: "Try a gear program, or look at a device, from this machine",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.deviceCheckVerb(), a.deviceObserveVerb())
	return c
}

// checkup is what `device check` was asked for.
type checkup struct {
	role, link, params string
	env                []string
	timeout            time.Duration
	counterBound       bool
	acceptMany         int
}

func (a *app) deviceCheckVerb() *cobra.Command {
	var q checkup
	c := &cobra.Command{
		Use:   "check [flags] -- COMMAND [ARGUMENT...]",
		Short: "Try a gear program against the contract of the exec device",
		Long: `Check runs the program as an agent would, through every operation of a rotation,
and says what it does other than the contract asks (docs/exec-contract.md). It uses
keys made for it and two links that no other key may be on, LINK and LINK-b. What
it leaves on the gear is said at the end, since nothing may remove a last key.

It needs no servers. The exit code is 0 when every check was passed, and 3 when
one was not.`,
		Example: `  keyorch device check -- ./gear.sh
  keyorch device check --role downstream --params '{"port":"eth0"}' --env GEAR_STATE=/tmp/gear -- ./gear.py dc2-spine1`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Invalid, "check: say which program to try, after --: keyorch device check -- ./gear.sh")
			}
			return nil
		},
	}
	c.Flags().StringVar(&q.role, "role", "both", "what to try: downstream (accepting), upstream (sending) or both")
	c.Flags().StringVar(&q.link, "link", "keyorch-check", "the name of a link without keys, as the program is told it")
	c.Flags().StringVar(&q.params, "params", "", "the params of the topology, as a JSON object")
	c.Flags().StringArrayVar(&q.env, "env", nil, "a variable for the program, as NAME=VALUE (may be repeated)")
	c.Flags().DurationVar(&q.timeout, "timeout", exec.DefaultTimeout, "how long one run may take")
	c.Flags().BoolVar(&q.counterBound, "counter-bound", false, "the gear sends with a counter: do not go back to a key")
	c.Flags().IntVar(&q.acceptMany, "accept-many", exec.DefaultAcceptMany, "how many keys of one link the gear accepts at once")
	out := formatFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error { return a.deviceCheck(c.Context(), q, args, *out) }
	return c
}

// fields is the device as a topology would declare it.
func (q checkup) fields(command []string) (map[string]any, error) {
	fields := map[string]any{"command": command, "timeout": q.timeout.String(), "counterBound": q.counterBound, "acceptMany": q.acceptMany}
	if q.params != "" {
		var free map[string]any
		if err := json.Unmarshal([]byte(q.params), &free); err != nil || free == nil {
			return nil, fault.New(fault.Invalid, `check: --params is not a JSON object, such as {"port":"eth0"}`)
		}
		fields["params"] = free
	}
	env := map[string]string{}
	for _, kv := range q.env {
		name, value, found := strings.Cut(kv, "=")
		if !found || name == "" {
			return nil, fault.New(fault.Invalid, "check: --env %q is not NAME=VALUE", kv)
		}
		env[name] = value
	}
	fields["env"] = env
	return fields, nil
}

// verdict is a check as `device check -o json` prints it.
type verdict struct {
	Role  string `json:"role"`
	Check string `json:"check"`
	// Result is "passed", "failed" or "skipped".
	Result string `json:"result"`
	Why    string `json:"why,omitempty"`
}

func (a *app) deviceCheck(ctx context.Context, q checkup, command []string, out format) error {
	fields, err := q.fields(command)
	if err != nil {
		return err
	}
	if err := keychain.ValidName(q.link + "-b"); err != nil {
		return fault.Wrap(fault.Invalid, err, "check: --link %s", q.link)
	}
	sends, accepts := q.role != "downstream", q.role != "upstream"
	if q.role != "both" && sends && accepts {
		return fault.New(fault.Invalid, "check: --role %q is not downstream, upstream or both", q.role)
	}
	device, err := exec.New("keyorch-check", fields)
	if err != nil {
		return err
	}
	var verdicts []verdict
	failed, left := exec.Checkup{
		Device: device, Link: keychain.LinkID(q.link), Sends: sends, Accepts: accepts,
		Tell: func(v exec.Verdict) {
			verdicts = append(verdicts, verdictOf(v))
			if out == asTable {
				printVerdict(a.out, verdictOf(v))
			}
		},
	}.Run(ctx)
	if ctx.Err() != nil {
		return fault.Wrap(fault.Unknown, ctx.Err(), "check was broken off")
	}
	if out != asTable {
		if err := out.print(a.out, map[string]any{"checks": verdicts, "failed": failed, "left": leftWords(left)}); err != nil {
			return err
		}
	} else {
		printLeft(a.out, verdicts, failed, left)
	}
	if failed > 0 {
		return &exitError{code: exitRefused}
	}
	return nil
}

func verdictOf(v exec.Verdict) verdict {
	w := verdict{Role: v.Role, Check: v.Check, Result: "passed"}
	switch {
	case v.Skipped:
		w.Result = "skipped"
	case v.Err != nil:
		w.Result, w.Why = "failed", strings.Join(strings.Split(v.Err.Error(), "\n"), "; ")
	}
	return w
}

func leftWords(left []exec.Left) []string {
	words := []string{}
	for _, l := range left {
		var parts []string
		for _, r := range l.Accepts {
			parts = append(parts, "accepts "+r.String())
		}
		if !l.Sends.IsZero() {
			parts = append(parts, "sends with "+l.Sends.String())
		}
		words = append(words, fmt.Sprintf("link %s: %s", l.Link, strings.Join(parts, ", ")))
	}
	return words
}
