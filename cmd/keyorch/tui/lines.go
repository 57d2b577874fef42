package tui

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// newlyHeld is how many links that became held are named at once.
const newlyHeld = 10

// Lines asks s again and again, and writes a line when something has changed: how
// the campaign, or the fleet, stands. Links that become held have a line each with
// their reason, up to ten at once. An error of s is a line as well. It ends when
// ctx does, which is no error; every is 500 ms when it is not positive.
//
// It returns Unknown when out cannot be written to.
func Lines(ctx context.Context, out io.Writer, s Source, wait time.Duration) error {
	if wait <= 0 {
		wait = every
	}
	tick := time.NewTicker(wait)
	defer tick.Stop()
	var p printer
	for {
		asked, cancel := context.WithTimeout(ctx, patience)
		screen, err := s.Screen(asked)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		for _, line := range p.lines(screen, err, time.Now()) {
			if _, err := fmt.Fprintln(out, line); err != nil {
				return fault.Wrap(fault.Unknown, err, "write the next line")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// printer remembers what was said last.
type printer struct {
	said   string
	failed string
	held   map[string]bool
	zone   *time.Location
}

// lines are what is new in a screen, or that there was none at now.
func (p *printer) lines(s Screen, err error, now time.Time) []string {
	if err != nil {
		text := clean(err.Error())
		if text == p.failed {
			return nil
		}
		p.failed, p.said = text, "" // what comes after it is news
		if p.zone != nil {
			now = now.In(p.zone)
		}
		return []string{now.Format(time.TimeOnly) + " no answer: " + text}
	}
	s = cleaned(s)
	p.failed, p.zone = "", s.Now.Location()
	at := s.Now.Format(time.TimeOnly) + " "
	var out []string
	if line := sentence(s); line != p.said {
		p.said = line
		out = append(out, at+line)
	}
	held, fresh := map[string]bool{}, 0
	for _, h := range s.Held {
		held[h.Link] = true
		if p.held[h.Link] {
			continue
		}
		if fresh++; fresh <= newlyHeld {
			out = append(out, fmt.Sprintf("%sheld %s: %s", at, h.Link, h.Reason))
		}
	}
	if fresh > newlyHeld {
		out = append(out, fmt.Sprintf("%sheld %d more", at, fresh-newlyHeld))
	}
	p.held = held
	return out
}

// sentence is how everything stands, in one line.
func sentence(s Screen) string {
	c := s.Campaign
	if c == nil {
		line := fmt.Sprintf("fleet: %d links, %d held, %d drifted", s.Fleet.Links, s.Fleet.Held, s.Fleet.Drift)
		for _, p := range s.Phases {
			if p.Count > 0 {
				line += fmt.Sprintf(", %s %d", p.Name, p.Count)
			}
		}
		if s.Fleet.LastCampaign != "" {
			line += "; last " + join(" ", s.Fleet.LastCampaign, s.Fleet.LastEnd)
		}
		return line
	}
	t := s.total()
	line := fmt.Sprintf("%s %s", c.Name, c.State)
	if c.Wave >= 0 && c.Wave < len(s.Waves) && c.State != "ended" {
		w := s.Waves[c.Wave]
		line += fmt.Sprintf(", wave %d of %d", c.Wave+1, len(s.Waves))
		if w.State == Soaking {
			line += " soaks"
		}
	}
	line += fmt.Sprintf(": %d of %d rotated, %d in flight, %d held, %d failed", t.Rotated, t.Total, t.InFlight, t.Held, t.Failed)
	if c.Reason != "" {
		line += ": " + c.Reason
	}
	return line
}
