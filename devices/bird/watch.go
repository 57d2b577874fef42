package bird

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
)

const (
	// look is how often neighbours are looked at while a change is watched.
	look = 100 * time.Millisecond
	// reserve is the part of the timeout that is left for confirming.
	reserve = 2 * time.Second
)

// peer is a neighbour that is up: Full in OSPF, or Up in BFD.
type peer struct {
	protocol, address, iface string
	since                    string        // BFD: when it came up; a session that was lost for a moment has another
	notices                  time.Duration // after how long a side notices that it no longer hears from the other
	tells                    time.Duration // OSPF: after how long the other side is told, with the next hello
}

func (p peer) String() string {
	return fmt.Sprintf("%s neighbor %s on %s", strings.ToUpper(p.protocol), p.address, p.iface)
}

// jitter is how far two answers about one moment may be apart: BIRD counts back from
// now in two clocks.
const jitter = 100 * time.Millisecond

// same reports whether the session has lasted from p to o.
func (p peer) same(o peer) bool {
	if p.protocol != o.protocol || p.address != o.address || p.iface != o.iface {
		return false
	}
	now, ok := timeOfDay(o.since)
	if !ok {
		return true // long ago, or in a form of the operator's own
	}
	then, ok := timeOfDay(p.since)
	return ok && (now-then).Abs() <= jitter
}

// timeOfDay reads the time in a Since column; false where there is only a date.
func timeOfDay(since string) (time.Duration, bool) {
	f := strings.Fields(since)
	if len(f) == 0 {
		return 0, false
	}
	t, err := time.Parse(time.TimeOnly, f[len(f)-1]) // takes a fraction as well
	return t.Sub(t.Truncate(24 * time.Hour)), err == nil
}

// peers are the neighbours of the link that are up, those of BFD first. OSPF is asked
// first: what it loses because of BFD, BFD has lost before, and says so when it is
// asked after that.
func (s *socket) peers(ctx context.Context, of segment) ([]peer, error) {
	r, err := s.ask(ctx, "show protocols")
	if err != nil {
		return nil, err
	}
	found := protocolsIn(r.lines)
	var all []peer
	for _, protocol := range []struct {
		kind, name string
		ask        func(ctx context.Context, name string) ([]peer, error)
	}{{"OSPF", ospf, s.neighbors}, {"BFD", bfd, s.sessions}} {
		for _, name := range slices.Sorted(maps.Keys(found)) {
			if found[name] != protocol.kind || !of.uses(protocol.name) {
				continue
			}
			up, err := protocol.ask(ctx, quoted(name))
			if err != nil {
				return nil, err
			}
			all = append(up, all...)
		}
	}
	return slices.DeleteFunc(all, func(p peer) bool { return !of.watches(p.iface) }), nil
}

// neighbors asks an OSPF protocol.
func (s *socket) neighbors(ctx context.Context, name string) ([]peer, error) {
	neighbors, err := s.ask(ctx, "show ospf neighbors "+name)
	if err != nil {
		return nil, err
	}
	interfaces, err := s.ask(ctx, "show ospf interface "+name)
	return neighborsIn(neighbors.lines, timersIn(interfaces.lines)), err
}

// sessions asks a BFD protocol.
func (s *socket) sessions(ctx context.Context, name string) ([]peer, error) {
	r, err := s.ask(ctx, "show bfd sessions "+name)
	return sessionsIn(r.lines), err
}

// quoted is the name of a protocol as BIRD's own command line takes it.
func quoted(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "'" + strings.ReplaceAll(name, "'", "") + "'"
	}
	return name
}

// protocolsIn reads "show protocols": Name Proto Table State Since Info.
func protocolsIn(lines []string) map[string]string {
	found := make(map[string]string)
	for _, line := range lines {
		if f := strings.Fields(line); len(f) >= 4 && f[3] == "up" {
			found[f[0]] = f[1]
		}
	}
	return found
}

// timers are those of an interface in OSPF.
type timers struct{ hello, dead time.Duration }

// neighborsIn reads "show ospf neighbors": Router-ID Pri State DTime Interface
// Router-IP.
func neighborsIn(lines []string, of map[string]timers) []peer {
	var up []peer
	for _, line := range lines {
		if f := strings.Fields(line); len(f) == 6 && strings.HasPrefix(f[2], "Full") {
			up = append(up, peer{protocol: ospf, address: f[5], iface: f[4], notices: of[f[4]].dead, tells: of[f[4]].hello})
		}
	}
	return up
}

// timersIn reads "show ospf interface": "Interface NAME (NET)", and then lines of
// which some are "Hello timer: SECONDS" and "Dead timer: SECONDS".
func timersIn(lines []string) map[string]timers {
	found := make(map[string]timers)
	iface := ""
	for _, line := range lines {
		f := strings.Fields(line)
		switch {
		case len(f) >= 2 && f[0] == "Interface":
			iface = f[1]
		case len(f) == 3 && f[1] == "timer:" && (f[0] == "Hello" || f[0] == "Dead"):
			n, err := strconv.ParseUint(f[2], 10, 16)
			if err != nil {
				continue
			}
			t := found[iface]
			if f[0] == "Hello" {
				t.hello = time.Duration(n) * time.Second
			} else {
				t.dead = time.Duration(n) * time.Second
			}
			found[iface] = t
		}
	}
	return found
}

// sessionsIn reads "show bfd sessions": IP-address Interface State Since Interval
// Timeout. Since may be a date and a time.
func sessionsIn(lines []string) []peer {
	var up []peer
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) < 6 || f[2] != "Up" {
			continue
		}
		last := len(f) - 1
		timeout, err := strconv.ParseFloat(f[last], 64)
		if err != nil || timeout < 0 || timeout > 1e6 {
			continue
		}
		up = append(up, peer{
			protocol: bfd, address: f[0], iface: f[1], since: strings.Join(f[3:last-1], " "),
			notices: time.Duration(timeout * float64(time.Second)),
		})
	}
	return up
}

// watching is how long the neighbours that were up are to be watched: until a
// router that understands nothing any more would have shown it. BFD shows that
// first. OSPF shows it with the first hello after the dead interval. Where only OSPF
// would, and does not even notice within the limit, there is nothing to wait for.
func watching(before []peer, limit time.Duration) time.Duration {
	var byBFD, byOSPF, told time.Duration
	for _, p := range before {
		if p.protocol == bfd {
			byBFD = max(byBFD, p.notices)
		} else {
			byOSPF = max(byOSPF, p.notices)
			told = max(told, p.notices+p.tells)
		}
	}
	switch {
	case byBFD > 0:
		return min(2*byBFD, limit)
	case byOSPF+time.Second <= limit:
		return min(told+time.Second, limit)
	}
	return 0
}

// watch looks on for a while, and is Unavailable as soon as a neighbour that was up
// before the change is not.
func (d *Device) watch(ctx context.Context, bird *socket, s segment, before []peer) error {
	if len(before) == 0 {
		return nil
	}
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	for end := time.Now().Add(watching(before, d.timeout-reserve)); ; {
		now, err := bird.peers(ctx, s)
		if err != nil {
			return err
		}
		for _, p := range before {
			if !slices.ContainsFunc(now, p.same) {
				return fault.New(fault.Unavailable, "%v was lost by the change", p)
			}
		}
		if time.Now().After(end) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, ctx.Err(), "the change was not watched to its end")
		case <-ticks.C:
		}
	}
}
