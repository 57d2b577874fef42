package agents

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// Run serves the nodes until ctx ends, then stops: what devices are doing is
// waited for, for as long as Config.Grace allows, and every node is given up. It
// returns nil then, and Invalid at once for a Config that cannot be served.
func Run(ctx context.Context, cfg Config) error {
	cfg, err := cfg.checked()
	if err != nil {
		return err
	}
	abandon, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if pause(abandon, cfg.Grace+time.Second) {
			cancel()
		}
	})()
	site := &site{
		Config:  cfg,
		keys:    newKeyring(cfg.Custody),
		extra:   make(chan struct{}, cfg.Parallel),
		abandon: abandon,
		posts:   make(map[keychain.NodeID]*post),
	}
	defer site.wg.Wait()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	defer cfg.Pulse.turn(false)
	for {
		cfg.Pulse.turn(true)
		select {
		case <-beat.C:
		case <-ctx.Done():
			return nil
		case nodes, ok := <-cfg.Nodes:
			if !ok {
				cfg.Nodes = nil // the last list stands
				continue
			}
			cfg.Pulse.serves(nodes)
			site.serve(ctx, nodes)
		}
	}
}

// site is all that the nodes of one agent share.
type site struct {
	Config
	keys *keyring
	// extra has a token for every link that is worked on beyond one for each node.
	extra chan struct{}
	// abandon ends when devices that heed no context are not waited for any more.
	abandon context.Context
	wg      sync.WaitGroup
	posts   map[keychain.NodeID]*post // used by Run only
}

// post is the service of one node, until it is ended.
type post struct {
	*site
	node  Node
	log   *slog.Logger
	own   context.Context // ends when the post is to end
	end   context.CancelFunc
	ended chan struct{}
}

// serve begins and ends posts so that they are those of nodes.
func (s *site) serve(ctx context.Context, nodes []Node) {
	listed := make(map[keychain.NodeID]bool)
	for _, n := range nodes {
		listed[n.ID] = true
		before := s.posts[n.ID]
		if before != nil && before.own.Err() == nil && before.node.same(n) {
			continue
		}
		p := &post{site: s, node: n, log: s.Logger.With("node", n.ID), ended: make(chan struct{})}
		p.own, p.end = context.WithCancel(ctx)
		s.posts[n.ID] = p
		if before != nil {
			before.end()
		}
		s.wg.Go(func() {
			defer close(p.ended)
			defer p.end()
			if before != nil {
				<-before.ended // one at a time acts on a node
			}
			p.run(p.own)
		})
	}
	for id, p := range s.posts {
		if !listed[id] {
			p.end()
			// Kept until it has ended, in case the node comes back before.
			select {
			case <-p.ended:
				delete(s.posts, id)
			default:
			}
		}
	}
}

// soon is how long it takes to be given a node that nobody serves, with time to
// spare.
const soon = 2 * time.Second

// run serves the node, tenure after tenure, until ctx ends.
func (p *post) run(ctx context.Context) {
	retry := p.newBackoff()
	for ctx.Err() == nil {
		waiting := time.AfterFunc(soon, func() { p.log.InfoContext(ctx, "waiting: another agent serves the node, or etcd is away") })
		tenure, err := p.Store.Serve(ctx, p.Site, p.node.ID, p.Who)
		waiting.Stop()
		if err != nil {
			if ctx.Err() == nil {
				p.log.ErrorContext(ctx, "cannot serve, will try again", "error", err)
			}
			pause(ctx, retry.NextBackOff())
			continue
		}
		began := time.Now()
		p.log.InfoContext(ctx, "serving")
		p.Pulse.acts(p.node.ID, true)
		p.hold(ctx, tenure)
		p.Pulse.acts(p.node.ID, false)
		if ctx.Err() == nil {
			p.log.WarnContext(ctx, "lost the right to serve")
		}
		if time.Since(began) > p.MaxBackoff {
			retry.Reset()
		} else {
			pause(ctx, retry.NextBackOff()) // two agents that take a node from each other
		}
	}
	p.log.InfoContext(ctx, "stopped serving")
}

// hold acts on the node for as long as tenure and ctx last, and then gives the
// node up.
func (p *post) hold(ctx context.Context, tenure Tenure) {
	// What a device is doing outlives ctx by Grace, but never the tenure.
	ops, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() {
		if pause(ops, p.Grace) {
			p.log.Warn("gave up waiting for the device")
			cut()
		}
	})()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-tenure.Done():
			stop()
			cut()
		case <-ops.Done():
		}
	}()
	if obs, ok := p.recall(ctx, tenure); ok {
		if !newSession(p, ctx, ops, tenure, obs).run() {
			p.log.Error("left a device that does not answer; the lease keeps others away for a while")
			return
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.Grace)
	defer cancel()
	if err := tenure.Close(closing); err != nil && !fault.Is(err, fault.Stale) {
		p.log.Warn("cannot give the node up, its lease will run out", "error", err)
	}
}

func (s *site) newBackoff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     firstBackoff,
		RandomizationFactor: 0.25,
		Multiplier:          2,
		MaxInterval:         s.MaxBackoff * 4 / 5, // the longest after jitter is MaxBackoff
	}
}

// pause waits for d, and reports whether ctx lasted that long.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
