package devstack

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"

	"github.com/keyorch/keyorch/fault"
)

const (
	namespace   = "default"
	clusterName = "active" // Temporal's own name for a cluster that stands alone
	// historyShards can never change for a database that exists. SQLite has one
	// writer, so more shards would only queue for it.
	historyShards = 1
)

// startTemporal runs all of Temporal's services in this process on a SQLite
// database, and returns when a workflow could be started.
func startTemporal(ctx context.Context, dir string, ports Ports, logFile *os.File, o TemporalOptions) (temporal.Server, error) {
	fail := func(err error) error {
		return fault.Wrap(fault.Unavailable, err, "start temporal on %s", address(ports.Temporal))
	}
	database, err := setUpDatabase(dir)
	if err != nil {
		return nil, fail(err)
	}
	conf := temporalConfig(ports, database)
	if o.Configure != nil {
		o.Configure(conf)
	}
	logger := log.NewZapLogger(zapTo(logFile))
	authorizer, claims, err := o.guards(conf, logger)
	if err != nil {
		return nil, fail(err)
	}
	hosts := make(map[primitives.ServiceName]static.Hosts)
	for name, service := range conf.Services {
		hosts[primitives.ServiceName(name)] = static.SingleLocalHost(address(service.RPC.GRPCPort))
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(conf),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorizer),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return claims }),
		temporal.WithDynamicConfigClient(o.tuned(temporalTuning())),
	)
	if err != nil {
		return nil, fail(err)
	}
	if err := server.Start(); err != nil {
		return nil, fail(err)
	}
	if err := awaitTemporal(ctx, address(ports.Temporal), o.Dial); err != nil {
		return nil, fail(errors.Join(err, server.Stop()))
	}
	return server, nil
}

// setUpDatabase makes the schema and the namespace unless they are there. A
// file beside the database says that both are complete: a process killed halfway
// starts afresh, and had nothing to lose.
func setUpDatabase(dir string) (*config.SQL, error) {
	path := filepath.Join(dir, "temporal.db")
	done := filepath.Join(dir, "temporal.ready")
	database := &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: (&url.URL{Path: path}).EscapedPath(), // it becomes part of a URI
		ConnectAttributes: map[string]string{
			"mode": "rwc",
			// The write-ahead log survives the death of the process with one sync per
			// checkpoint in place of two per write.
			"journal_mode": "wal",
			"synchronous":  "normal",
			"busy_timeout": "10000", // milliseconds
		},
	}
	if _, err := os.Stat(done); !errors.Is(err, fs.ErrNotExist) {
		return database, err
	}
	for _, half := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := writeFile(path, nil); err != nil { // SQLite would let everybody read it
		return nil, err
	}
	if err := sqlite.SetupSchema(database); err != nil {
		return nil, err
	}
	ns, err := sqlite.NewNamespaceConfig(clusterName, namespace, false, nil)
	if err != nil {
		return nil, err
	}
	if err := sqlite.CreateNamespaces(database, ns); err != nil {
		return nil, err
	}
	return database, writeFile(done, nil)
}

func temporalConfig(ports Ports, database *config.SQL) *config.Config {
	const store, off = "sqlite", "disabled"
	frontend := address(ports.Temporal)
	conf := new(config.Config)
	conf.Global.Membership.MaxJoinDuration = 10 * time.Second
	conf.Global.Membership.BroadcastAddress = loopback
	conf.Persistence = config.Persistence{
		DefaultStore:     store,
		VisibilityStore:  store,
		NumHistoryShards: historyShards,
		DataStores:       map[string]config.DataStore{store: {SQL: database}},
	}
	conf.ClusterMetadata = &cluster.Config{
		FailoverVersionIncrement: 10,
		MasterClusterName:        clusterName,
		CurrentClusterName:       clusterName,
		ClusterInformation: map[string]cluster.ClusterInformation{clusterName: {
			Enabled:                true,
			InitialFailoverVersion: 1,
			RPCAddress:             frontend,
		}},
	}
	conf.DCRedirectionPolicy.Policy = "noop"
	conf.Services = make(map[string]config.Service)
	for name, port := range map[primitives.ServiceName]int{
		primitives.FrontendService: ports.Temporal,
		primitives.HistoryService:  ports.TemporalHistory,
		primitives.MatchingService: ports.TemporalMatching,
		primitives.WorkerService:   ports.TemporalWorker,
	} {
		conf.Services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: loopback}}
	}
	conf.Archival.History.State, conf.Archival.Visibility.State = off, off
	conf.NamespaceDefaults.Archival.History.State, conf.NamespaceDefaults.Archival.Visibility.State = off, off
	conf.PublicClient.HostPort = frontend
	return conf
}

// temporalTuning is Temporal's dynamic configuration for one busy user on a
// small machine: no limits that protect tenants from one another, one partition
// for each task queue, and none of the sweeps that a short life does not need.
func temporalTuning() dynamicconfig.StaticClient {
	const unlimited = 100_000
	tuning := make(dynamicconfig.StaticClient)
	for _, limit := range []dynamicconfig.Key{
		dynamicconfig.FrontendRPS.Key(),
		dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key(),
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(),
		dynamicconfig.FrontendPersistenceMaxQPS.Key(),
		dynamicconfig.MatchingRPS.Key(),
		dynamicconfig.MatchingPersistenceMaxQPS.Key(),
		dynamicconfig.HistoryRPS.Key(),
		dynamicconfig.HistoryPersistenceMaxQPS.Key(),
		// How often a shard may look into its queues. At the usual 20 a second a
		// workflow that runs one activity after the other gets no more than 20 of them.
		dynamicconfig.TransferProcessorMaxPollRPS.Key(),
		dynamicconfig.TimerProcessorMaxPollRPS.Key(),
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(),
		dynamicconfig.OutboundProcessorMaxPollRPS.Key(),
	} {
		tuning[limit] = unlimited
	}
	// On a busy machine Temporal may miss telling a waiting caller that its workflow
	// has ended, and the caller learns it when it asks again: then it asks often.
	tuning[dynamicconfig.HistoryLongPollExpirationInterval.Key()] = 250 * time.Millisecond
	tuning[dynamicconfig.MatchingNumTaskqueueReadPartitions.Key()] = 1
	tuning[dynamicconfig.MatchingNumTaskqueueWritePartitions.Key()] = 1
	tuning[dynamicconfig.HistoryCacheHostLevelMaxSize.Key()] = 8192 // workflows
	tuning[dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key()] = true
	tuning[dynamicconfig.HistoryScannerEnabled.Key()] = false
	tuning[dynamicconfig.TaskQueueScannerEnabled.Key()] = false
	tuning[dynamicconfig.ExecutionsScannerEnabled.Key()] = false
	return tuning
}

// awaitTemporal returns when Temporal serves its namespace and owns its history
// shards: only then does it know that a workflow does not exist.
func awaitTemporal(ctx context.Context, address string, dial func(*client.Options)) error {
	options := client.Options{HostPort: address, Namespace: namespace, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if dial != nil {
		dial(&options)
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		_, err := c.DescribeWorkflowExecution(ctx, "keyorch-dev-ready", "")
		if notFound := (*serviceerror.NotFound)(nil); errors.As(err, &notFound) {
			err = nil
		}
		return struct{}{}, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(20*time.Millisecond)))
	return err
}
