package notify

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/topology"
)

func noon() time.Time { return time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC) }

func at(minute int) time.Time { return noon().Add(time.Duration(minute) * time.Minute) }

// teller is Next in use: it remembers what was decided, as the outbox does.
type teller struct {
	t      *testing.T
	memory Memory
	hooks  []topology.Webhook
	room   map[string]int
}

func newTeller(t *testing.T, hooks ...topology.Webhook) *teller {
	return &teller{t: t, memory: Memory{Told: map[string]Told{}, Since: map[string]time.Time{}}, hooks: hooks}
}

// tell asks Next at a minute and gives what is sent, as in "chat link.held ab". Asked
// again at once, nothing more may be decided.
func (w *teller) tell(minute int, conditions ...Condition) []string {
	w.t.Helper()
	room := w.room
	if room == nil {
		room = map[string]int{}
		for _, h := range w.hooks {
			room[h.Name] = 1000
		}
	}
	var out []string
	d := Next(at(minute), conditions, w.memory, w.hooks, room)
	for _, n := range d.Queue {
		out = append(out, fmt.Sprintf("%s %s %s", n.Webhook, n.Event.Type(), strings.TrimPrefix(n.Event.Key, n.Event.Kind+"/")))
		if n.Event.ID == "" || n.Event.Words == "" || !n.Queued.Equal(at(minute)) {
			w.t.Errorf("sends %+v", n)
		}
		room[n.Webhook]--
	}
	w.remember(d)
	if again := Next(at(minute), conditions, w.memory, w.hooks, room); !again.Empty() {
		w.t.Errorf("decides again: %+v", again)
	}
	return out
}

func (w *teller) remember(d Decision) {
	if d.Since != nil {
		w.memory.Since = d.Since
	}
	for _, t := range d.Put {
		w.memory.Told[t.Event.Key] = t
	}
	for _, k := range d.Forget {
		delete(w.memory.Told, k)
	}
}

func (w *teller) want(got []string, want ...string) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.t.Errorf("tells\n%q, want\n%q", got, want)
	}
}

// held is a link that is held from a minute on, in its phase for ten before.
func held(link string, from int) Condition {
	return Condition{Event: Event{Kind: LinkHeld, Key: LinkHeld + "/" + link, Subject: "link " + link, Severity: topology.Error, At: at(from - 10)},
		Due: at(from), Group: "campaign c1", Say: func() string { return link + " waits" }}
}

func finished(minute int) Condition {
	return Condition{Event: Event{Kind: CampaignFinished, Key: fmt.Sprintf("%s/c1/%d", CampaignFinished, minute), Severity: topology.Info, At: at(minute),
		Words: "it has ended", Momentary: true}, Due: at(minute)}
}

func hook(name string, events ...string) topology.Webhook {
	return topology.Webhook{Name: name, Format: topology.Slack, Events: events}
}

func TestAConditionIsToldWhenItIsDueOnceAndWhenItIsOver(t *testing.T) {
	w := newTeller(t, hook("chat"))
	w.want(w.tell(5, held("ab", 10)))
	w.want(w.tell(10, held("ab", 10)), "chat link.held ab")
	w.want(w.tell(30, held("ab", 10)))
	w.want(w.tell(31), "chat link.held.resolved ab")
	w.want(w.tell(32))
	if len(w.memory.Told) != 0 {
		t.Errorf("remembers %v", w.memory.Told)
	}
	// What ends before it is due is nobody's trouble.
	w.want(w.tell(33, held("cd", 40)))
	w.want(w.tell(34))
	// What was told and is not due any more, as after a change of the policy or of the worker
	// that counts, goes on.
	w.want(w.tell(40, held("cd", 40)), "chat link.held cd")
	w.want(w.tell(41, held("cd", 60)))
	w.want(w.tell(61, held("cd", 60)))
}

func TestTheSameAgainIsAnotherEvent(t *testing.T) {
	w := newTeller(t, hook("chat"))
	ids := map[string]bool{}
	for i := range 3 {
		for _, c := range [][]Condition{{held("ab", 0)}, nil} {
			d := Next(at(i), c, w.memory, w.hooks, map[string]int{"chat": 10})
			w.remember(d)
			for _, n := range d.Queue {
				ids[n.Event.ID] = true
			}
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d ids for six events", len(ids))
	}
}

func TestOnlyWhoWasToldHearsThatItIsOver(t *testing.T) {
	w := newTeller(t, hook("chat"), hook("drift", DriftFound))
	w.want(w.tell(10, held("ab", 10)), "chat link.held ab")
	w.hooks = append(w.hooks, hook("late"))
	w.want(w.tell(11, held("ab", 10)), "late link.held ab") // it still burns
	w.hooks = w.hooks[1:]                                   // and chat is declared no more
	w.want(w.tell(12, held("ab", 10)))
	w.want(w.tell(13), "late link.held.resolved ab")
}

func TestADisabledWebhookIsForgotten(t *testing.T) {
	w := newTeller(t, hook("chat"))
	w.want(w.tell(10, held("ab", 10)), "chat link.held ab")
	w.hooks[0].Disabled = true
	w.want(w.tell(11, held("ab", 10)))
	if len(w.memory.Told)+len(w.memory.Since) != 0 {
		t.Errorf("remembers %+v", w.memory)
	}
}

func TestAMomentIsToldToThoseWhoWereThere(t *testing.T) {
	w := newTeller(t, hook("chat"))
	w.want(w.tell(10, finished(5))) // from before there was anybody
	w.want(w.tell(20, finished(5), finished(15)), "chat campaign.finished c1/15")
	w.hooks = append(w.hooks, hook("late"))
	w.want(w.tell(21, finished(5), finished(15)))
	w.want(w.tell(30, finished(15), finished(25)), "chat campaign.finished c1/25", "late campaign.finished c1/25")
	w.want(w.tell(31)) // the records are gone, which is no news
	if len(w.memory.Told) != 0 {
		t.Errorf("remembers %v", w.memory.Told)
	}
}

func TestWhatFindsNoRoomWaits(t *testing.T) {
	w := newTeller(t, hook("a"), hook("b"))
	w.room = map[string]int{"a": 1, "b": 5}
	w.want(w.tell(10, held("ab", 10), held("cd", 10)), "a link.held ab", "b link.held ab", "b link.held cd")
	w.want(w.tell(11, held("ab", 10), held("cd", 10)))
	w.room = map[string]int{"a": 5, "b": 0}
	w.want(w.tell(12, held("cd", 10)), "a link.held.resolved ab", "a link.held cd")
	w.room = map[string]int{"a": 0, "b": 5}
	w.want(w.tell(13, held("ab", 13), held("cd", 10))) // it is back before b heard that it was over
	w.room = nil
	w.want(w.tell(14, held("ab", 13), held("cd", 10)), "a link.held ab")
}

func TestACrowdIsOneEvent(t *testing.T) {
	many := func(n, from int) (out []Condition) {
		for i := range n {
			out = append(out, held(fmt.Sprintf("l%02d", i), from))
		}
		return out
	}
	w := newTeller(t, hook("chat"))
	if got := w.tell(10, many(10, 10)...); len(got) != 10 {
		t.Errorf("ten links: tells %q", got)
	}
	w.want(w.tell(11, many(30, 10)...), "chat link.held many/campaign/c1")
	if words := w.memory.Told[LinkHeld+"/many/campaign/c1"].Event.Words; words != "campaign c1: 20 links are held too long: link l10, link l11, link l12, link l13, link l14 and 15 more" {
		t.Error(words)
	}
	w.want(w.tell(12, many(40, 10)...)) // they join it
	w.want(w.tell(13, many(11, 10)...)) // it lasts until none of it holds
	w.want(w.tell(14, many(10, 10)...), "chat link.held.resolved many/campaign/c1")
	w.want(w.tell(15, many(9, 10)...), "chat link.held.resolved l09")

	w = newTeller(t, hook("chat"))
	gone := func(nodes ...string) (out []Condition) {
		for _, n := range nodes {
			out = append(out, Condition{Event: Event{Kind: AgentGone, Key: AgentGone + "/" + n, Subject: "node " + n, Words: n, At: at(1), Severity: topology.Error},
				Due: at(2), Group: "site dc1"})
		}
		return out
	}
	w.want(w.tell(2, gone("a", "b")...), "chat agent.gone many/site/dc1")
	w.want(w.tell(3), "chat agent.gone.resolved many/site/dc1")
	w.want(w.tell(4, gone("a")...), "chat agent.gone a")
}

// A crowd takes nobody along who is not due: the others may come right by themselves.
func TestACrowdIsMadeOfWhatIsDue(t *testing.T) {
	var all []Condition
	for i := range 12 {
		all = append(all, held(fmt.Sprintf("l%02d", i), 10+i))
	}
	w := newTeller(t, hook("chat"))
	w.want(w.tell(11, all...), "chat link.held l00", "chat link.held l01")
	if got := w.tell(21, all...); !slices.Equal(got, []string{"chat link.held many/campaign/c1"}) {
		t.Errorf("tells %q", got)
	}
}

func TestEventsComeInTheOrderInWhichTheyBegan(t *testing.T) {
	w := newTeller(t, hook("chat"))
	w.tell(1, held("ab", 1))
	w.want(w.tell(30, held("z", 9), held("y", 10), finished(8)),
		"chat link.held.resolved ab", "chat link.held z", "chat link.held y", "chat campaign.finished c1/8")
}

func TestKindsAreThoseOfTheSchema(t *testing.T) {
	for _, k := range kinds() {
		if !strings.Contains(string(topology.Schema()), `"`+k+`"`) {
			t.Errorf("no webhook can select %s", k)
		}
	}
	if strings.Contains(string(topology.Schema()), Test) {
		t.Error("a webhook can select a test")
	}
}

func TestWhatIsKeptIsReadAgain(t *testing.T) {
	w := newTeller(t, hook("chat"), hook("duty"))
	d := Next(at(10), []Condition{held("ab", 10), finished(10)}, w.memory, w.hooks, map[string]int{"chat": 9, "duty": 9})
	w.remember(d)
	var docs []Document
	want := Stored{Memory: w.memory, Numbers: map[string]uint64{"chat": 7, "duty": 3}, Queue: map[string][]Notice{}, Receivers: map[string]Receiver{"chat": {Delivered: 4, Error: "x"}}}
	keep := func(doc Document, err error) {
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	for _, told := range w.memory.Told {
		keep(toldDocument(told))
	}
	for i, n := range slices.Backward(d.Queue) {
		if n.Number = uint64(i + 1); n.Webhook == "chat" {
			keep(noticeDocument(n))
			want.Queue["chat"] = append([]Notice{n}, want.Queue["chat"]...)
		}
	}
	keep(receiverDocument("chat", want.Receivers["chat"]))
	keep(encodeHead(w.memory.Since, want.Numbers))
	if got := Decode(docs); !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got, want)
	}
	docs = append(docs, Document{Key: "queue/chat/1", Value: []byte("{}")}, Document{Key: "told/x", Value: []byte("{}")}, Document{Key: "what", Value: nil},
		Document{Key: "receivers/x", Value: []byte("[")}, Document{Key: queueKey("x", 1), Value: []byte("7")})
	if got := Decode(docs); len(got.Broken) != 5 || len(got.Queue["chat"]) != len(want.Queue["chat"]) {
		t.Errorf("broken: %q", got.Broken)
	}
}
