package bird

import (
	"context"
	"fmt"
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
	notices                  time.Duration // after how long it shows that it no longer hears from the other side
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

// peers are the neighbours of the link that are up.
func (s *socket) peers(ctx context.Context, of segment) ([]peer, error) {
	r, err := s.ask(ctx, "show protocols")
	if err != nil {
		return nil, err
	}
	var all []peer
	for name, kind := range protocolsIn(r.lines) {
		switch {
		case kind == "OSPF" && of.uses(ospf):
			neighbors, err := s.ask(ctx, "show ospf neighbors "+quoted(name))
			if err != nil {
				return nil, err
			}
			interfaces, err := s.ask(ctx, "show ospf interface "+quoted(name))
			if err != nil {
				return nil, err
			}
			all = append(all, neighborsIn(neighbors.lines, deadTimers(interfaces.lines))...)
		case kind == "BFD" && of.uses(bfd):
			sessions, err := s.ask(ctx, "show bfd sessions "+quoted(name))
			if err != nil {
				return nil, err
			}
			all = append(all, sessionsIn(sessions.lines)...)
		}
	}
	return slices.DeleteFunc(all, func(p peer) bool { return !of.watches(p.iface) }), nil
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

// neighborsIn reads "show ospf neighbors": Router-ID Pri State DTime Interface
// Router-IP.
func neighborsIn(lines []string, dead map[string]time.Duration) []peer {
	var up []peer
	for _, line := range lines {
		if f := strings.Fields(line); len(f) == 6 && strings.HasPrefix(f[2], "Full") {
			up = append(up, peer{protocol: ospf, address: f[5], iface: f[4], notices: dead[f[4]]})
		}
	}
	return up
}

// deadTimers reads "show ospf interface": "Interface NAME (NET)", and then lines of
// which one is "Dead timer: SECONDS".
func deadTimers(lines []string) map[string]time.Duration {
	timers := make(map[string]time.Duration)
	iface := ""
	for _, line := range lines {
		f := strings.Fields(line)
		switch {
		case len(f) >= 2 && f[0] == "Interface":
			iface = f[1]
		case len(f) == 3 && f[0] == "Dead" && f[1] == "timer:":
			if n, err := strconv.ParseUint(f[2], 10, 16); err == nil {
				timers[iface] = time.Duration(n) * time.Second
			}
		}
	}
	return timers
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
// first. Where only OSPF would, and not within the limit, there is nothing to wait
// for.
func watching(before []peer, limit time.Duration) time.Duration {
	var byBFD, byOSPF time.Duration
	for _, p := range before {
		if p.protocol == bfd {
			byBFD = max(byBFD, p.notices)
		} else {
			byOSPF = max(byOSPF, p.notices)
		}
	}
	switch {
	case byBFD > 0:
		return min(2*byBFD, limit)
	case byOSPF+time.Second <= limit:
		return byOSPF + time.Second
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
