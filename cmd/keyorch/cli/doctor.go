package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/cmd/keyorch/doctor"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// examination is what doctor prints for programs.
type examination struct {
	Checks  []doctor.Finding `json:"checks"`
	Healthy bool             `json:"healthy"`
}

func (a *app) doctorVerb() *cobra.Command {
	var site, node, stateDir string
	var patience time.Duration
	c := &cobra.Command{
		Use:   "doctor [--site S [--node N]]",
		Short: "Check every connection, identity, permission, clock and version, and say how to mend them",
		Long: `doctor looks at everything that a process with these settings would depend on: who
it is, whether its servers answer, what they let it do, and what they must not let
it do. It changes nothing. Run it with the environment, or the identity directory,
of the process that you wonder about; with --site for an agent's.

Exit codes: 0 nothing is wrong, warnings or not; 2 a setting or a file can never do;
3 something is refused, or allowed that must not be; 6 a server is away.`,
		Args: noArguments,
	}
	f := formatFlag(c)
	c.Flags().StringVar(&site, "site", "", "look as the agent of this site")
	c.Flags().StringVar(&node, "node", "", "look as the agent of this node alone, beside --site")
	c.Flags().StringVar(&stateDir, "state-dir", "", "as the agent has it")
	c.Flags().DurationVar(&patience, "timeout", dialTime, "how long one check may take")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if node != "" && site == "" || patience <= 0 {
			return fault.New(fault.Invalid, "doctor: --node belongs to a --site, and --timeout is above zero")
		}
		if site != "" {
			var nodes []string
			if node != "" {
				nodes = append(nodes, node)
			}
			if err := servable(site, nodes); err != nil {
				return err
			}
			if err := a.takeIdentity(a.identityOr(cmp.Or(stateDir, a.stateDir(site)))); err != nil {
				return err
			}
		}
		p := a.patient(keychain.SiteID(site), keychain.NodeID(node), patience)
		return report(a.out, *f, p.Examine(c.Context()))
	}
	return c
}

// patient is what doctor looks at: the settings that any other verb would use.
func (a *app) patient(site keychain.SiteID, node keychain.NodeID, patience time.Duration) doctor.Patient {
	p := doctor.Patient{
		Etcd: store.EnvConfig(a.getenv), Site: site, Node: node, Version: a.version(), Now: time.Now, Patience: patience,
		TemporalSet: a.getenv("TEMPORAL_ADDRESS") != "" || a.getenv("TEMPORAL_CONFIG_FILE") != "" || a.getenv("TEMPORAL_PROFILE") != "",
	}
	p.Custody, p.CustodyErr = custody.EnvConfig(a.getenv)
	p.Dial = func(ctx context.Context) (*wiring.TemporalClient, error) {
		t, err := wiring.ReadTemporal(environment{a})
		if err != nil {
			return nil, err
		}
		return t.Dial(ctx, slog.New(slog.DiscardHandler))
	}
	return p
}

// report prints what was found, and ends with the exit code of the worst.
func report(w io.Writer, f format, findings []doctor.Finding) error {
	kind, bad := doctor.Worst(findings)
	if f == asTable {
		printFindings(w, findings)
	} else if err := f.print(w, examination{Checks: findings, Healthy: !bad}); err != nil {
		return err
	}
	if !bad {
		return nil
	}
	return &exitError{code: ExitCode(fault.New(kind, "doctor"))}
}

// mark is how a state looks in the table.
func mark(s doctor.State) string {
	switch s {
	case doctor.Warn:
		return "WARN"
	case doctor.Fail:
		return "FAIL"
	case doctor.Skipped:
		return "-"
	case doctor.OK:
	}
	return "ok"
}

// printFindings prints a line for each finding, under its subject, and how to mend it
// below.
func printFindings(w io.Writer, findings []doctor.Finding) {
	wide := 0
	counts := map[doctor.State]int{}
	for _, f := range findings {
		wide = max(wide, len(f.Check))
		counts[f.State]++
	}
	for _, subject := range doctor.Subjects() {
		first := true
		for _, f := range findings {
			if f.Subject != subject {
				continue
			}
			if first {
				_, _ = fmt.Fprintf(w, "%s\n", subject)
				first = false
			}
			_, _ = fmt.Fprintf(w, "  %-4s  %-*s  %s\n", mark(f.State), wide, f.Check, f.What)
			if f.Mend != "" {
				_, _ = fmt.Fprintf(w, "        %-*s  mend: %s\n", wide, "", f.Mend)
			}
		}
	}
	_, _ = fmt.Fprintf(w, "%d ok, %d to look at, %d failed, %d skipped\n",
		counts[doctor.OK], counts[doctor.Warn], counts[doctor.Fail], counts[doctor.Skipped])
}
