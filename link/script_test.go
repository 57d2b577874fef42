package link_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

var update = flag.Bool("update", false, "rewrite testdata and docs/phases.md")

// The scripts in testdata read: a command, "----", what follows from it, an
// empty line. The commands are
//
//	link up=NODES down=NODES [epoch=N]  a link on epoch N, or without a key
//	rotate EPOCH
//	report NODE [turn=N] [accepts=KEYS] [sends=KEY] [lost=EPOCHS] [counters=EPOCH:PACKETS] [fault=KIND] [message=TEXT]
//	cleared [turn=N]
//	drained [turn=N]
//	abort REASON
//	members up=NODES down=NODES
//	quorum N                            leave out who may be, and who had to be told
//	drift
//	explain [present=NODES] [after=DURATION] and with what is said of Snapshot:
//	        [closed=TEXT] [until=DURATION] [quiet=DURATION] [quieted=NODE:EPOCH:PACKETS:AGO]
//	        [age=DURATION] [warn=DURATION] [max=DURATION] [maintained=TEXT]
//
// Durations count from now, AGO and age backwards; a "_" in a TEXT is a space. Who
// a quorum left out stays quarantined until a link command or until members has it.
//
// A KEY is an epoch, and after a colon its KCV, or "none" for none. Without
// it the KCV is that of the right key. A Turn that is not given is the present
// one. What follows is the state, and every order that there was not before; or
// "no change".
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if got == string(text) {
				return
			}
			if !*update {
				t.Fatalf("%s is not what happens (rewrite it with -update, and read the diff); this is:\n%s", file, got)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// play runs a script and gives it back with what really follows.
func play(t *testing.T, script string) string {
	var out strings.Builder
	p := player{t: t, clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	answer := false // between "----" and the empty line after it
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "----":
			answer = true
			continue
		case answer && line != "":
			continue // the old answer
		case answer:
			answer = false
		}
		fmt.Fprintln(&out, line)
		if line != "" && !strings.HasPrefix(line, "#") {
			fmt.Fprintf(&out, "----\n%s", p.do(line))
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// player is one script under way.
type player struct {
	t       *testing.T
	s       link.State
	reports []keychain.Report
	clock   time.Time
	left    []link.Quarantine
}

// do runs one command.
func (p *player) do(line string) string {
	word, rest, _ := strings.Cut(line, " ")
	p.clock = p.clock.Add(time.Second)
	a := p.args(rest)
	var e link.Event
	switch word {
	case "link":
		return p.begin(nodes(a["up"]), nodes(a["down"]), a["epoch"])
	case "explain":
		return p.explain(a)
	case "drift":
		return p.drift()
	case "quorum":
		missing, ok := link.Quorum(p.s, int(epochOf(p.t, rest)))
		if !ok {
			return "nobody is left out\n"
		}
		for _, n := range missing {
			p.left = append(p.left, link.Quarantine{Node: n, Epoch: p.s.To.Epoch, Since: p.clock})
		}
		down := slices.DeleteFunc(slices.Clone(p.s.Downstream), func(n keychain.NodeID) bool { return slices.Contains(missing, n) })
		e = link.Members{Upstream: p.s.Upstream, Downstream: down, At: p.clock}
	case "rotate":
		e = link.Rotate{Epoch: epochOf(p.t, rest), At: p.clock}
	case "report":
		r := p.report(a)
		p.reports = append(slices.DeleteFunc(p.reports, func(old keychain.Report) bool { return old.Node == r.Node && old.Turn <= r.Turn }), r)
		e = link.Reported{Report: r, At: p.clock}
	case "cleared":
		e = link.Cleared{Turn: p.turn(a), At: p.clock}
	case "drained":
		e = link.Drained{Turn: p.turn(a), At: p.clock}
	case "abort":
		e = link.Abort{Reason: rest, At: p.clock}
	case "members":
		m := link.Members{Upstream: nodes(a["up"]), Downstream: nodes(a["down"]), At: p.clock}
		p.left = slices.DeleteFunc(p.left, func(q link.Quarantine) bool { return slices.Contains(m.Downstream, q.Node) })
		e = m
	default:
		p.t.Fatalf("no such command: %s", line)
	}
	old := p.s
	s, err := link.Step(p.s, e)
	p.s = s
	switch {
	case err != nil:
		return err.Error() + "\n"
	case show(s) == show(old):
		return "no change\n"
	case orders(s) == orders(old):
		return show(s)
	}
	return show(s) + orders(s)
}

// begin makes a link, and brings it to the epoch that it is to be on.
func (p *player) begin(up, down []keychain.NodeID, epoch string) string {
	p.s, p.reports, p.left = link.New(up, down), nil, nil
	if epoch == "" {
		return show(p.s) + orders(p.s)
	}
	events := []link.Event{link.Rotate{Epoch: epochOf(p.t, epoch)}}
	key := p.ref(epoch)
	for _, n := range down {
		events = append(events, link.Reported{Report: keychain.Report{Node: n, Turn: 1, Accepts: []keychain.Ref{key}}})
	}
	events = append(events, link.Cleared{Turn: 1})
	for _, n := range up {
		events = append(events, link.Reported{Report: keychain.Report{Node: n, Turn: 2, Sends: key}})
	}
	for _, e := range events {
		s, err := link.Step(p.s, e)
		if err != nil {
			p.t.Fatal(err)
		}
		p.s = s
	}
	return show(p.s) + orders(p.s)
}

// args are the words of a command: name=value, and the first bare one as "".
// Message takes the rest of the line.
func (p *player) args(rest string) map[string]string {
	a := map[string]string{}
	if before, message, ok := strings.Cut(rest, "message="); ok {
		rest, a["message"] = before, message
	}
	for _, word := range strings.Fields(rest) {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			name, value = "", word
		}
		if _, again := a[name]; !again {
			a[name] = value
		}
	}
	return a
}

// asked is the Turn of a report: that of the node's order when none is given.
func (p *player) asked(a map[string]string) keychain.Turn {
	if n := keychain.NodeID(a[""]); a["turn"] == "" && p.s.Asked(n) != 0 {
		return p.s.Asked(n)
	}
	return p.turn(a)
}

func (p *player) turn(a map[string]string) keychain.Turn {
	if a["turn"] == "" {
		return p.s.Turn
	}
	return keychain.Turn(epochOf(p.t, a["turn"]))
}

func (p *player) report(a map[string]string) keychain.Report {
	r := keychain.Report{
		Node: keychain.NodeID(a[""]), Turn: p.asked(a), Fault: a["fault"], Message: a["message"], At: p.clock,
	}
	if r.Fault != "" {
		r.Since = p.clock
	}
	for _, k := range list(a["accepts"]) {
		r.Accepts = append(r.Accepts, p.ref(k))
	}
	if a["sends"] != "" {
		r.Sends = p.ref(a["sends"])
	}
	for _, e := range list(a["lost"]) {
		r.Lost = append(r.Lost, epochOf(p.t, e))
	}
	for _, c := range list(a["counters"]) {
		epoch, packets, _ := strings.Cut(c, ":")
		r.Counters = append(r.Counters, keychain.Counter{Epoch: epochOf(p.t, epoch), Packets: uint64(epochOf(p.t, packets))})
	}
	return r
}

func (p *player) ref(text string) keychain.Ref {
	epoch, kcv, ok := strings.Cut(text, ":")
	e := epochOf(p.t, epoch)
	switch {
	case !ok:
		kcv = fmt.Sprintf("a%09d", e)
	case kcv == "none":
		kcv = ""
	}
	return keychain.Ref{Epoch: e, KCV: keychain.KCV(kcv)}
}

func (p *player) explain(a map[string]string) string {
	duration := func(name string) time.Duration { return durationOf(p.t, a[name]) }
	after := duration("after")
	s := link.Snapshot{
		State: p.s, Reports: p.reports, Present: nodes(a["present"]), Now: p.clock.Add(after), Drain: 30 * time.Second,
		Quiet: duration("quiet"), Closed: strings.ReplaceAll(a["closed"], "_", " "),
		WarnAge: duration("warn"), MaxAge: duration("max"), Quarantined: p.left,
	}
	if a["until"] != "" {
		s.ClosedUntil = s.Now.Add(duration("until"))
	}
	if a["age"] != "" {
		s.KeySince = s.Now.Add(-duration("age"))
	}
	for _, text := range list(a["quieted"]) {
		part := strings.Split(text, ":")
		s.Quieted = append(s.Quieted, link.Quieted{Node: keychain.NodeID(part[0]), Epoch: epochOf(p.t, part[1]),
			Packets: uint64(epochOf(p.t, part[2])), Since: s.Now.Add(-durationOf(p.t, part[3]))})
	}
	if a["maintained"] != "" {
		s.Maintained = []string{strings.ReplaceAll(a["maintained"], "_", " ")}
	}
	x := link.Explain("dc1-dc2", s)
	out := fmt.Sprintf("summary: %s\n", x.Summary)
	for _, line := range []struct{ name, text string }{
		{"reason", x.Reason}, {"gate", x.Gate.Gate}, {"next", x.Next}, {"command", x.Command},
	} {
		if line.text != "" {
			out += fmt.Sprintf("%s: %s\n", line.name, line.text)
		}
	}
	for _, w := range x.Awaiting {
		out += fmt.Sprintf("  %s %s, for %v: %s\n", w.Node, w.For, p.clock.Add(after).Sub(w.Since), w.Message)
	}
	return out
}

func (p *player) drift() string {
	var out string
	for _, f := range link.Drift(p.s, p.reports) {
		by := "stays"
		if f.Repairable {
			by = "is repaired"
		}
		out += fmt.Sprintf("%s (%s): %s\n", f.Kind, by, f.Message)
	}
	return cmp.Or(out, "none\n")
}

func durationOf(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(cmp.Or(text, "0"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}
