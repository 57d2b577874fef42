package devstack

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	uiserver "github.com/temporalio/ui-server/v2/server"
	"go.etcd.io/etcd/server/v3/embed"
	"go.temporal.io/server/temporal"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// GCPercent is the garbage collector's target for a process that has a stack in
// it: three servers allocate much and keep little, and at the usual 100 a sixth of
// two cores goes into collecting.
const GCPercent = 400

// Options say where and how to run the stack.
type Options struct {
	// Data is the directory that keeps everything; it is created, with mode 0700.
	Data string
	// Logger gets the stack's own few lines. The servers log to Data/logs. Nil
	// means no lines.
	Logger *slog.Logger
	// UI adds Temporal's web pages.
	UI bool
	// Ports are chosen when zero, and stay the same for one directory.
	Ports Ports
	// Names are further names and addresses under which clients reach this machine,
	// for the certificates of etcd and Vault.
	Names []string
	// Plain leaves TLS and access control out, to measure what they cost.
	Plain bool
	// Empty leaves etcd and Vault as they are when they were just installed: with TLS,
	// and with nothing in them. The root of the stack is the only identity then.
	Empty bool
	// SimNetwork is where agents of other processes find the simulated network
	// ("unix:///…"), for their environment; empty for nowhere.
	SimNetwork string
	// Temporal changes how Temporal runs.
	Temporal TemporalOptions
	// Etcd, unless nil, stands before etcd and sees every request: to measure what a part
	// of them costs.
	Etcd grpc.UnaryServerInterceptor
}

// Stack is a running etcd, Temporal and Vault. Its exported fields do not change
// while it runs. It is safe for concurrent use.
type Stack struct {
	Data              string // the data directory, as an absolute path
	EtcdEndpoint      string // https://127.0.0.1:PORT
	TemporalAddress   string // 127.0.0.1:PORT
	TemporalNamespace string
	TemporalUI        string // http://127.0.0.1:PORT; empty when off
	VaultAddress      string // https://127.0.0.1:PORT

	RootToken string // opens everything in Vault; exists in development only

	simNetwork string
	plain      bool
	empty      bool

	log       *slog.Logger
	authority *authority         // nil when plain
	enrolling singleflight.Group // by common name
	tokens    *tokens
	admin     *custody.Custody // with the root token

	lock     *flock.Flock
	logs     *logs
	etcd     *embed.Etcd
	temporal temporal.Server
	ui       *uiserver.Server
	vault    *vaultServer

	stop func() error // stops once, and says the same again
}

// Start runs the stack and returns when every server answers. A directory that
// another process uses is Refused; a port that is taken, and a server that does
// not start, are Unavailable. After an error nothing is left running.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.Data == "" {
		return nil, fault.New(fault.Invalid, "start development stack: no data directory")
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "start development stack")
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "start development stack")
	}
	s := &Stack{Data: data, simNetwork: o.SimNetwork, plain: o.Plain, empty: o.Empty, log: o.Logger, TemporalNamespace: namespace}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.stop = sync.OnceValue(s.shutdown)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.lock, err = lockDir(data); err != nil {
		return nil, err
	}
	ports, err := settlePorts(data, o.Ports)
	if err != nil {
		return nil, err
	}
	if s.logs, err = openLogs(data); err != nil {
		return nil, err
	}
	certs, err := s.secure(o.Names)
	if err != nil {
		return nil, err
	}
	s.EtcdEndpoint = certs.url(address(ports.Etcd))
	s.TemporalAddress = address(ports.Temporal)
	s.VaultAddress = certs.url(address(ports.Vault))
	if o.UI {
		s.TemporalUI = uiURL(ports)
	}
	if err := s.startServers(ctx, ports, certs, o); err != nil {
		return nil, err
	}
	return s, nil
}

// secure makes the certificates of the servers; a plain stack has none.
func (s *Stack) secure(names []string) (serverCerts, error) {
	if s.plain {
		return serverCerts{}, nil
	}
	var err error
	if s.authority, err = openAuthority(s.Data); err != nil {
		return serverCerts{}, err
	}
	root := identity.Identity{Role: identity.Admin}
	if dir := s.directory(root); !s.authority.vouchesFor(dir) {
		if err := s.authority.client(dir, root); err != nil {
			return serverCerts{}, err
		}
	}
	certs := serverCerts{ca: s.authority.certFile()}
	certs.cert, certs.key, err = s.authority.server("server", names)
	return certs, err
}

// Plain reports whether the stack has neither TLS nor access control.
func (s *Stack) Plain() bool { return s.plain }

// startServers starts the servers side by side. Only the web pages need another
// server, Temporal.
func (s *Stack) startServers(ctx context.Context, ports Ports, certs serverCerts, o Options) error {
	begin := time.Now()
	took := func(server, at string, err error) error {
		if err == nil {
			s.log.Info("server answers", "server", server, "address", at, "after", time.Since(begin).Round(time.Millisecond))
		}
		return err
	}
	g, starting := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if s.etcd, err = startEtcd(starting, s.Data, ports, certs, s.logs.etcd, o.Etcd); err == nil {
			err = s.guardEtcd(starting)
		}
		return took("etcd", s.EtcdEndpoint, err)
	})
	g.Go(func() (err error) {
		s.temporal, err = startTemporal(starting, s.Data, ports, s.logs.temporal, o.Temporal)
		if err := took("temporal", s.TemporalAddress, err); err != nil || s.TemporalUI == "" {
			return err
		}
		s.ui, err = startUI(starting, ports)
		return took("temporal ui", s.TemporalUI, err)
	})
	g.Go(func() (err error) {
		if s.vault, err = startVault(starting, s.Data, ports, certs, s.logs.vault); err == nil {
			err = s.prepareVault(starting)
		}
		return took("vault", s.VaultAddress, err)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return s.enrolPersons(ctx)
}

// Stop stops every server, writes what they hold in memory, and frees the
// directory. It may be called again. When ctx ends first it returns, and the
// servers go on stopping.
func (s *Stack) Stop(ctx context.Context) error {
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		return fault.Wrap(fault.Unknown, ctx.Err(), "stop development stack")
	}
}

// shutdown stops what has been started. It keeps the lock to the last.
func (s *Stack) shutdown() error {
	var g errgroup.Group
	g.Go(func() error {
		if s.ui != nil {
			s.ui.Stop()
		}
		if s.temporal != nil {
			return s.temporal.Stop()
		}
		return nil
	})
	g.Go(func() error {
		if s.etcd != nil {
			s.etcd.Close()
		}
		return nil
	})
	g.Go(func() error {
		const patience = 2 * time.Second // for requests that are being served
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if s.vault != nil {
			return s.vault.stop(ctx)
		}
		return nil
	})
	err := g.Wait()
	if s.logs != nil {
		err = errors.Join(err, s.logs.close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return fault.Wrap(fault.Unknown, err, "stop development stack")
}
