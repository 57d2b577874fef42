package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// redraw and redrawLink are how often the live line is drawn anew: less often for
// thousands of links, all of which are looked at.
const (
	redraw     = 100 * time.Millisecond
	redrawLink = 20 * time.Microsecond
)

// rotateOutput is what `rotate -o json` prints.
type rotateOutput struct {
	Campaign string             `json:"campaign"`
	Links    []workflows.Result `json:"links"`
}

// follow waits for a campaign, shows how it goes, and ends with its exit code.
// When the operator has waited enough, the rotation stays in place.
func (a *app) follow(ctx context.Context, w *world, r *rotation, timeout time.Duration, out format) error {
	waiting := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	show := a.progress(w, r, out)
	tick := time.NewTicker(redraw + time.Duration(len(r.links))*redrawLink)
	defer tick.Stop()
	for {
		results, over := w.results(r)
		if over || waiting.Err() != nil {
			results = w.explained(results, r)
			show.finish(results)
			return a.conclude(w, r, results, out)
		}
		show.update(results)
		select {
		case <-waiting.Done():
		case <-tick.C:
		}
	}
}

// conclude prints the results and turns them into an exit code.
func (a *app) conclude(w *world, r *rotation, results []workflows.Result, out format) error {
	if out != asTable {
		if err := out.print(a.out, rotateOutput{Campaign: r.campaign, Links: results}); err != nil {
			return err
		}
	} else {
		count := map[link.Outcome]int{}
		for _, res := range results {
			count[res.Outcome]++
		}
		skipped := ""
		if n := count[link.Skipped]; n > 0 {
			skipped = fmt.Sprintf(", %d skipped", n)
		}
		_, _ = fmt.Fprintf(a.out, "%s: %d rotated, %d held, %d aborted, %d refused%s in %.1fs\n", r.campaign,
			count[link.Rotated], count[link.Held], count[link.Aborted], count[link.Denied], skipped, time.Since(r.begun).Seconds())
		if c, ok := w.view.Campaign(r.campaign); ok && c.State == campaign.Paused {
			_, _ = fmt.Fprintf(a.out, "The campaign is paused: %s. Go on with `keyorch resume %s`.\n", c.Reason, r.campaign)
		}
		if count[link.Held] > 0 {
			_, _ = fmt.Fprintln(a.out, "A held link is safe where it is, and goes on by itself. Ask `keyorch why LINK`.")
		}
	}
	if code := outcomeCode(results); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// progress shows a rotation: one live line on a terminal, a line a link when it
// ends otherwise, nothing for programs.
type progress struct {
	w       *world
	r       *rotation
	out     io.Writer
	live    bool
	silent  bool
	printed map[keychain.LinkID]bool
}

func (a *app) progress(w *world, r *rotation, out format) *progress {
	file, ok := a.out.(*os.File)
	return &progress{
		w: w, r: r, out: a.out, silent: out != asTable,
		live: ok && term.IsTerminal(int(file.Fd())), printed: map[keychain.LinkID]bool{},
	}
}

func (p *progress) update(results []workflows.Result) {
	if p.silent {
		return
	}
	byPhase := map[link.Phase]int{}
	done := 0
	for _, res := range results {
		record, ok := p.w.view.Record(res.Link)
		switch {
		case !ok || record.Last.Campaign != p.r.campaign:
		case record.Owner == "":
			done++
			if !p.live {
				p.line(res)
			}
		default:
			byPhase[record.State.Phase]++
		}
	}
	if !p.live {
		return
	}
	const width = 24
	full := width * done / max(1, len(p.r.links))
	parts := []string{fmt.Sprintf("%s%s %d/%d", strings.Repeat("█", full), strings.Repeat("░", width-full), done, len(p.r.links))}
	for _, phase := range link.Phases() {
		if n := byPhase[phase]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", strings.ToLower(phase.String()), n))
		}
	}
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s  %.0fs", strings.Join(parts, " · "), time.Since(p.r.begun).Seconds())
}

// close takes the live line away.
func (p *progress) close() {
	if p.live && !p.silent {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// finish prints the lines that are still owed.
func (p *progress) finish(results []workflows.Result) {
	p.close()
	if p.silent {
		return
	}
	for _, res := range results {
		p.line(res)
	}
}

// fewLines is how many links a rotation may have for each to get a line of its
// own; of more, only those that did not get their key do.
const fewLines = 50

func (p *progress) line(res workflows.Result) {
	if p.printed[res.Link] || len(p.r.links) > fewLines && res.Outcome == link.Rotated {
		return
	}
	p.printed[res.Link] = true
	text := fmt.Sprintf("%s %s", res.Link, res.Outcome)
	switch {
	case res.Outcome == link.Rotated:
		text += fmt.Sprintf(" to epoch %d in %.1fs", res.Epoch, res.Seconds)
	case res.Reason != "":
		text += ": " + res.Reason
	}
	_, _ = fmt.Fprintln(p.out, text)
}
