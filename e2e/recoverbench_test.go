package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// BenchmarkRecover recovers 10,000 links on an etcd that has their topology and nothing
// else, with TLS and access control. The agents answer at once, so that it is the time of
// etcd and of the verb; what devices and journals take comes on top.
func BenchmarkRecover(b *testing.B) {
	for range b.N {
		ctx, cancel := context.WithCancel(b.Context())
		dir := b.TempDir()
		stack, err := devstack.Start(ctx, devstack.Options{Data: filepath.Join(dir, "data")})
		if err != nil {
			b.Fatal(err)
		}
		l := &lab.Lab{Stack: stack, Network: sim.NewNetwork(sim.Options{}), Dir: dir, Logger: slog.New(slog.DiscardHandler)}
		fleet := lab.Fleet{Links: 10_000, Sites: 10, Drain: time.Second}
		topo, err := l.Declare(ctx, fleet.Documents())
		if err != nil {
			b.Fatal(err)
		}
		if err := stack.Provision(ctx, topo); err != nil {
			b.Fatal(err)
		}
		for _, n := range topo.Nodes {
			witness(ctx, b, l, n)
		}
		env, err := stack.Env(ctx, devstack.Root)
		if err != nil {
			b.Fatal(err)
		}
		for _, round := range []string{"rebuilt", "kept"} {
			began := time.Now()
			var out strings.Builder
			cmd := exec.CommandContext(ctx, binary, "recover", "--wait", "2m")
			cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &out, os.Stderr
			if err := cmd.Run(); err != nil {
				b.Fatalf("%v\n%.2000s", err, out.String())
			}
			took := time.Since(began).Seconds()
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			fmt.Printf("10,000 links %s in %.1f s (%.0f MB): %s\n", round, took, float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024, lines[len(lines)-1])
			b.ReportMetric(took, "s/"+round)
		}
		cancel()
		l.Network.Close()
		_ = stack.Stop(context.Background())
	}
}

// witness answers for a node, without a device: every link of it is on epoch 5.
func witness(ctx context.Context, b *testing.B, l *lab.Lab, n topology.Node) {
	b.Helper()
	s, err := l.StoreAs(ctx, devstack.AgentIdentity(n.Site))
	if err != nil {
		b.Fatal(err)
	}
	tenure, err := s.Serve(ctx, n.Site, n.Name, store.Agent{Instance: string(n.Name)})
	if err != nil {
		b.Fatal(err)
	}
	key := store.Wanted{
		Ref: keychain.Ref{Epoch: 5, KCV: "a1b2c3d4e5"}, Serial: 5,
		Wrapped: keychain.Wrapped{KEK: "keyorch-site-000-site-001", Ciphertext: "vault:v1:" + strings.Repeat("x", 120)},
	}
	go func() {
		_ = s.WatchInquiries(ctx, n.Site, n.Name, func(asked []store.Inquiry) {
			for _, q := range asked {
				var said []store.Testimony
				for _, a := range q.Links {
					t := store.Testimony{Inquiry: q.ID, Site: n.Site, Node: n.Name, Link: a.Link, Turn: 40, Noted: true, At: time.Now()}
					if a.Accepts {
						t.Accepts, t.Accept = []keychain.Ref{key.Ref}, []store.Wanted{key}
					}
					if a.Sends {
						t.Sends, t.Send, t.Started = key.Ref, key, []keychain.Epoch{1, 2, 3, 4, 5}
					}
					said = append(said, t)
				}
				if err := tenure.Testify(ctx, said); err != nil && ctx.Err() == nil {
					fmt.Println(err)
				}
			}
		})
	}()
}
