package cli

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/agents"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/metrics"
)

func (a *app) workerVerb() *cobra.Command {
	var level, listen, probed, secrets string
	var of wiring.Deployment
	c := &cobra.Command{
		Use:   "worker",
		Short: "Drive rotations: the process that runs the workflows",
		Args:  noArguments,
	}
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	listenFlags(c, &listen, &probed)
	c.Flags().StringVar(&secrets, "webhook-secrets", a.getenv("KEYORCH_WEBHOOK_SECRETS"), "the directory with the secrets of webhooks, a file each (default $KEYORCH_WEBHOOK_SECRETS)")
	a.deploymentFlags(c, &of)
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx := c.Context()
		if err := of.Check(); err != nil {
			return err
		}
		log, err := a.logger(level)
		if err != nil {
			return err
		}
		health := &wiring.WorkerHealth{}
		unprobed, err := answerProbes(ctx, probed, health.Probes(), log)
		if err != nil {
			return err
		}
		defer unprobed()
		var m *metrics.Worker
		var etcd, calls observe
		if listen != "" {
			m = wiring.WorkerMetrics()
			etcd, calls = m.EtcdRequest, m.VaultRequest
			stop, err := answerScrapes(ctx, listen, m.Handler(log), log)
			if err != nil {
				return err
			}
			defer stop()
		}
		vault, err := a.openCustodyObserved(ctx, calls, log)
		if err != nil {
			return err
		}
		stopRenewing, err := a.keepIdentity(ctx, vault, log)
		if err != nil {
			return err
		}
		defer stopRenewing()
		s, err := a.openStoreObserved(ctx, etcd)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		t, err := a.openTemporal(ctx, level, wiring.WithMetrics(m))
		if err != nil {
			return err
		}
		defer t.Close()
		return quietly(ctx, wiring.Worker{
			Store: s, Custody: vault, Temporal: t, Logger: log, Metrics: m, Health: health, Deployment: of, WebhookSecrets: secrets,
		}.Run(ctx))
	}
	return c
}

func (a *app) agentVerb() *cobra.Command {
	var site, stateDir, level, listen, probed string
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
	listenFlags(c, &listen, &probed)
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx := c.Context()
		if err := servable(site, nodes); err != nil {
			return err
		}
		a.frugal()
		log, err := a.logger(level)
		if err != nil {
			return err
		}
		pulse := &agents.Pulse{}
		unprobed, err := answerProbes(ctx, probed, wiring.AgentProbes(pulse), log)
		if err != nil {
			return err
		}
		defer unprobed()
		if stateDir == "" {
			stateDir = a.stateDir(site)
		}
		var m *metrics.Agent
		var etcd, calls observe
		if listen != "" {
			m = wiring.AgentMetrics()
			etcd, calls = m.EtcdRequest, m.VaultRequest
			stop, err := answerScrapes(ctx, listen, m.Handler(log), log)
			if err != nil {
				return err
			}
			defer stop()
		}
		if err := a.takeIdentity(a.identityOr(stateDir)); err != nil {
			return err
		}
		vault, err := a.openCustodyObserved(ctx, calls, log)
		if err != nil {
			return err
		}
		stopRenewing, err := a.keepIdentity(ctx, vault, log)
		if err != nil {
			return err
		}
		defer stopRenewing()
		s, err := a.openStoreObserved(ctx, etcd)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		agent := wiring.Agent{
			Site: keychain.SiteID(site), StateDir: stateDir, Store: s, Custody: vault, Logger: log, Version: a.version(),
			SimAddress: a.getenv("KEYORCH_SIM"), Metrics: m, Pulse: pulse,
		}
		for _, n := range nodes {
			agent.Nodes = append(agent.Nodes, keychain.NodeID(n))
		}
		return quietly(ctx, agent.Run(ctx))
	}
	return c
}

// frugal has this process collect garbage early, unless GOGC says otherwise: an agent
// allocates little, and runs beside what it serves.
func (a *app) frugal() {
	const percent = 40
	if a.getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// servable checks the names that an agent is to serve.
func servable(site string, nodes []string) error {
	if err := keychain.ValidName(site); err != nil {
		return fault.Wrap(fault.Invalid, err, "--site")
	}
	for _, n := range nodes {
		if err := keychain.ValidName(n); err != nil {
			return fault.Wrap(fault.Invalid, err, "--node")
		}
	}
	return nil
}

func listenFlags(c *cobra.Command, listen, probed *string) {
	c.Flags().StringVar(probed, "health-listen", "", "answer a supervisor at /livez and /readyz of this address (default: no port is opened)")
	c.Flags().StringVar(listen, "metrics-listen", "", "answer Prometheus on this address, as in 127.0.0.1:9090 (default: no port is opened)")
}

func (a *app) deploymentFlags(c *cobra.Command, of *wiring.Deployment) {
	c.Flags().StringVar(&of.Name, "deployment", "", "have Temporal hand work to the newest version of the workers under this name (default: workers have no version)")
	c.Flags().StringVar(&of.Build, "build-id", a.version(), "the version of this worker, beside --deployment")
	c.Flags().BoolVar(&of.Downgrade, "allow-downgrade", false, "become the current version though a newer one is, beside --deployment")
}

// answerScrapes takes the address at once and answers there until the returned
// function is called. A listener that breaks later stops nothing else: keys are
// worth more than figures.
func answerScrapes(ctx context.Context, address string, h http.Handler, log *slog.Logger) (stop func(), err error) {
	s, err := metrics.Listen(ctx, address, h, log)
	if err != nil {
		return nil, err
	}
	log.InfoContext(ctx, "answering scrapes", "address", s.Address())
	return answer(ctx, s, log), nil
}

// answerProbes does the same for a supervisor's questions; nothing without an
// address.
func answerProbes(ctx context.Context, address string, p metrics.Probes, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	s, err := metrics.ListenForProbes(ctx, address, p, log)
	if err != nil {
		return nil, err
	}
	log.InfoContext(ctx, "answering probes", "address", s.Address())
	return answer(ctx, s, log), nil
}

func answer(ctx context.Context, s *metrics.Server, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() {
		if err := s.Run(ctx); err != nil {
			log.ErrorContext(ctx, "nobody answers there any more", "address", s.Address(), "error", err)
		}
	})
	return func() { cancel(); over.Wait() }
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
