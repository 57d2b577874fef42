package cli

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func (a *app) workerVerb() *cobra.Command {
	var level string
	c := &cobra.Command{
		Use:   "worker",
		Short: "Drive rotations: the process that runs the workflows",
		Args:  noArguments,
	}
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx := c.Context()
		log, err := a.logger(level)
		if err != nil {
			return err
		}
		s, err := a.openStore(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		vault, err := a.openCustody(ctx)
		if err != nil {
			return err
		}
		t, err := a.openTemporal(ctx, level)
		if err != nil {
			return err
		}
		defer t.Close()
		return quietly(ctx, wiring.Worker{Store: s, Custody: vault, Temporal: t, Logger: log}.Run(ctx))
	}
	return c
}

func (a *app) agentVerb() *cobra.Command {
	var site, stateDir, level string
	var nodes []string
	c := &cobra.Command{
		Use:   "agent --site S [--node N ...]",
		Short: "Serve the nodes of a site: obey orders and report",
		Args:  noArguments,
	}
	c.Flags().StringVar(&site, "site", "", "the site to serve (required)")
	c.Flags().StringArrayVar(&nodes, "node", nil, "serve only this node of the site (may be repeated)")
	c.Flags().StringVar(&stateDir, "state-dir", "", "where the journal of turns is kept (default /var/lib/keyorch/SITE, or below $XDG_STATE_HOME)")
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx := c.Context()
		if err := keychain.ValidName(site); err != nil {
			return fault.Wrap(fault.Invalid, err, "--site")
		}
		for _, n := range nodes {
			if err := keychain.ValidName(n); err != nil {
				return fault.Wrap(fault.Invalid, err, "--node")
			}
		}
		log, err := a.logger(level)
		if err != nil {
			return err
		}
		if stateDir == "" {
			stateDir = a.stateDir(site)
		}
		s, err := a.openStore(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		vault, err := a.openCustody(ctx)
		if err != nil {
			return err
		}
		agent := wiring.Agent{
			Site: keychain.SiteID(site), StateDir: stateDir, Store: s, Custody: vault, Logger: log, Version: a.version(),
			SimAddress: a.getenv("KEYORCH_SIM"),
		}
		for _, n := range nodes {
			agent.Nodes = append(agent.Nodes, keychain.NodeID(n))
		}
		return quietly(ctx, agent.Run(ctx))
	}
	return c
}

// stateDir is where a site's journal is kept when nobody says.
func (a *app) stateDir(site string) string {
	if dir := a.getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "keyorch", site)
	}
	if home := a.getenv("HOME"); home != "" && os.Geteuid() != 0 {
		return filepath.Join(home, ".local", "state", "keyorch", site)
	}
	return filepath.Join("/var/lib/keyorch", site)
}
