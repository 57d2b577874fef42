package frr

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

var today = time.Date(2026, 11, 28, 12, 0, 0, 0, time.Local)

// ours is a key of an epoch that is accepted and not sent with.
func ours(id int, epoch keychain.Epoch) key {
	r := keychain.Ref{Epoch: epoch, KCV: "a1b2c3d4e5"}
	return key{id: id, ref: r, text: keyString(r, bytes.Repeat([]byte{byte(epoch)}, secretSize)), algorithm: "hmac-sha-256", send: never}
}

func sending(k key) key {
	k.send = always
	return k
}

func foreign(id int) key {
	return key{id: id, text: []byte("by-hand"), algorithm: "hmac-sha-256"}
}

func of(keys ...key) chain { return chain{name: "c", keys: keys} }

func TestARotation(t *testing.T) {
	must := func(c chain, err error) chain {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := must(of().install(ours(1, 1)))
	if !c.sends(today).IsZero() || len(c.accepts(today)) != 1 {
		t.Fatalf("an installed key is sent with, or not accepted: %+v", c)
	}
	c = must(c.switchTo(ours(1, 1), today))
	c = must(c.install(ours(2, 2)))
	if got := c.sends(today).Epoch; got != 1 {
		t.Errorf("after installing epoch 2 it sends with %d", got)
	}
	c = must(c.switchTo(ours(2, 2), today))
	if got := c.sends(today).Epoch; got != 2 || len(c.accepts(today)) != 2 {
		t.Errorf("after the switch it sends with %d and accepts %v", got, c.accepts(today))
	}
	c = must(c.switchTo(ours(1, 1), today))
	if got := c.sends(today).Epoch; got != 1 {
		t.Errorf("after going back it sends with %d", got)
	}
	if _, err := c.remove(1, today); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the key in use was taken out: %v", err)
	}
	c = must(c.remove(2, today))
	if _, err := c.remove(1, today); !fault.Is(err, fault.Refused) {
		t.Errorf("the last key was taken out: %v", err)
	}
	if again := must(c.remove(7, today)); !again.same(c) {
		t.Error("taking out what is not there changed something")
	}
}

func TestSwitchingStopsEveryOtherKey(t *testing.T) {
	later := foreign(9)
	later.send = "00:00:00 Jan 01 2035 infinite"
	past := foreign(7)
	past.send = "00:00:00 Jan 01 2001 duration 60"
	c, err := of(foreign(3), ours(5, 1), past, later).switchTo(ours(5, 1), today)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[int]lifetime{3: never, 5: always, 7: past.send, 9: never} {
		if k, _ := c.find(id); k.send != want {
			t.Errorf("key %d has send-lifetime %q, want %q", id, k.send, want)
		}
	}
}

func TestANumberThatIsTaken(t *testing.T) {
	other := ours(4, 4)
	other.ref.KCV = "0000000000"
	blank := key{id: 4}
	for _, c := range []struct {
		name string
		has  chain
		want fault.Kind
		says string
		free bool
	}{
		{name: "nothing", has: of(), free: true},
		{name: "itself", has: of(ours(4, 4)), free: true},
		{name: "a key that was never finished", has: of(blank), free: true},
		{name: "an earlier epoch", has: of(sending(ours(4, 3))), free: true},
		{name: "a later epoch", has: of(ours(4, 9)), want: fault.Unavailable, says: "no key 4"},
		{name: "somebody else's", has: of(foreign(4)), want: fault.Unavailable, says: "not put there by keyorch"},
		{name: "another key of the epoch", has: of(other), want: fault.Mismatch, says: "0000000000"},
		{name: "the key under another number", has: of(ours(7, 4)), want: fault.Unavailable, says: "no key 7"},
	} {
		next, err := c.has.install(ours(4, 4))
		switch {
		case c.free && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case !c.free && (!fault.Is(err, c.want) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.says)
		case c.free && !slices.Contains(next.accepts(today), ours(4, 4).ref):
			t.Errorf("%s: it is not accepted: %+v", c.name, next)
		case c.free && next.sends(today) == ours(4, 4).ref:
			t.Errorf("%s: installing switched", c.name)
		}
	}
}

// TestAKeyKeepsItsAlgorithm has the topology name another one after the key was
// installed: to change it under the key would cut off whoever did not yet.
func TestAKeyKeepsItsAlgorithm(t *testing.T) {
	k := ours(2, 2)
	k.algorithm = "hmac-sha-512"
	has := of(sending(ours(1, 1)), ours(2, 2))
	for name, edit := range map[string]func() (chain, error){
		"install": func() (chain, error) { return has.install(k) },
		"switch":  func() (chain, error) { return has.switchTo(k, today) },
	} {
		next, err := edit()
		if got, _ := next.find(2); err != nil || got.algorithm != "hmac-sha-256" {
			t.Errorf("%s: the algorithm is %q (%v)", name, got.algorithm, err)
		}
	}
}

// obey does what FRR does with one line.
func obey(t *testing.T, c *chain, at *int, line string) {
	t.Helper()
	words := strings.Fields(line)
	i := slices.IndexFunc(c.keys, func(k key) bool { return k.id == *at })
	rest := lifetime(strings.Join(words[1:], " "))
	switch {
	case strings.HasPrefix(line, "key chain "):
	case words[0] == "key":
		*at, _ = strconv.Atoi(words[1])
		if _, is := c.find(*at); !is {
			*c = c.with(key{id: *at}) // until it has a send-lifetime, FRR sends with it
		}
	case strings.HasPrefix(line, "no key "):
		id, _ := strconv.Atoi(words[2])
		c.keys = slices.DeleteFunc(slices.Clone(c.keys), func(k key) bool { return k.id == id })
	case line == "no send-lifetime":
		c.keys[i].send = always
	case line == "no accept-lifetime":
		c.keys[i].accept = always
	case line == "no key-string":
		c.keys[i].text = nil
	case line == "no cryptographic-algorithm":
		c.keys[i].algorithm = ""
	case words[0] == "send-lifetime":
		c.keys[i].send = rest
	case words[0] == "accept-lifetime":
		c.keys[i].accept = rest
	case words[0] == "cryptographic-algorithm":
		c.keys[i].algorithm = words[1]
	case words[0] == "key-string":
		c.keys[i].text = []byte(words[1])
		c.keys[i].ref, _ = parseText(c.keys[i].text)
	default:
		t.Fatalf("FRR does not know %q", line)
	}
}

// TestEveryBeginningIsSafe breaks every script off after every line: what is sent
// with must be what one of the two ends sends with, and never nothing.
func TestEveryBeginningIsSafe(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		from := of()
		for id := 1; id < 6; id++ {
			switch random.IntN(5) {
			case 0:
				from = from.with(ours(id, keychain.Epoch(id)))
			case 1:
				from = from.with(foreign(id))
			case 2:
				k := ours(id, keychain.Epoch(id))
				k.send = "00:00:00 Jan 01 2001 infinite"
				from = from.with(k)
			}
		}
		k := ours(1+random.IntN(5), 0)
		k = ours(k.id, keychain.Epoch(k.id))
		to, err := from.switchTo(k, today)
		if random.IntN(2) == 0 {
			to, err = from.install(k)
		}
		if err != nil {
			continue
		}
		if random.IntN(4) == 0 {
			from, to = to, from // the way back
		}
		checkEveryLine(t, from, to)
	}
}

func checkEveryLine(t *testing.T, from, to chain) {
	t.Helper()
	s := between(from, to, today)
	is, at := of(slices.Clone(from.keys)...), 0
	before, had := from.sender(today)
	after, has := to.sender(today)
	for line := range strings.Lines(string(s.text)) {
		line = strings.TrimSuffix(line, "\n")
		obey(t, &is, &at, line)
		if words := strings.Fields(line); words[0] == "key" && words[1] != "chain" {
			continue // the next line says at once that it is not sent with
		}
		now, sends := is.sender(today)
		if had && has && !sends || sends && now.id != before.id && now.id != after.id && !is.stands(now, from, to) {
			t.Fatalf("after %q it sends with key %d (%v), before with %d (%v), in the end with %d (%v)\n%s",
				line, now.id, sends, before.id, had, after.id, has, strings.Join(s.shown, "\n"))
		}
	}
	if !is.same(to) {
		t.Fatalf("the lines do not lead to the end:\n%s", strings.Join(s.shown, "\n"))
	}
}

// stands reports whether k may be sent with in from or to, though another comes
// before it: while the order of keys changes, FRR may fall back on it.
func (c chain) stands(k key, ends ...chain) bool {
	return slices.ContainsFunc(ends, func(e chain) bool {
		o, is := e.find(k.id)
		return is && o.send.covers(today)
	})
}

// TestTheOrderOfTheLinesMatters takes the protection away: the old key stops before
// the new one begins.
func TestTheOrderOfTheLinesMatters(t *testing.T) {
	from := of(sending(ours(1, 1)), ours(2, 2))
	to, err := from.switchTo(ours(2, 2), today)
	if err != nil {
		t.Fatal(err)
	}
	s := between(from, to, today)
	want := []string{"key chain c", "key 2", "no send-lifetime", "key 1", fmt.Sprintf("send-lifetime %s", never)}
	if !slices.Equal(s.shown, want) {
		t.Fatalf("the lines are %q", s.shown)
	}
	is, at, silent := of(slices.Clone(from.keys)...), 0, false
	for _, i := range []int{0, 3, 4, 1, 2} {
		obey(t, &is, &at, s.shown[i])
		_, sends := is.sender(today)
		silent = silent || !sends
	}
	if !silent {
		t.Error("the wrong order was never without a key: the check sees nothing")
	}
}

func TestAScriptShowsNoKeyString(t *testing.T) {
	k := ours(2, 2)
	s := between(of(), of(k), today)
	if !bytes.Contains(s.text, k.text) {
		t.Fatal("the key-string is not in the lines")
	}
	if shown := strings.Join(s.shown, "\n"); strings.Contains(shown, string(k.text[14:30])) {
		t.Errorf("shown with it:\n%s", shown)
	}
	s.wipe()
	if bytes.Contains(s.text[:cap(s.text)], k.text[14:]) {
		t.Error("it is still there after wiping")
	}
}

func TestLifetimes(t *testing.T) {
	for _, c := range []struct {
		l            lifetime
		covers, over bool
	}{
		{always, true, false},
		{never, false, true},
		{"00:00:00 Jan 01 2001 infinite", true, false},
		{"00:00:00 Jan 01 2035 infinite", false, false},
		{"00:00:00 Jan 01 2001 00:00:01 Jan 01 2001", false, true},
		{"00:00:00 Jan 01 2001 00:00:01 Jan 01 2030", true, false},
		{"00:00:00 Nov 28 2026 duration 86400", true, false},
		{"00:00:00 Nov 27 2026 duration 86400", false, true},
	} {
		if c.l.covers(today) != c.covers || c.l.over(today) != c.over {
			t.Errorf("%q: covers %v, over %v", c.l, c.l.covers(today), c.l.over(today))
		}
	}
	for _, wrong := range []string{"", "infinite", "25:00:00 Jan 1 2001 infinite", "00:00:00 Jan 01 2001 duration x", "00:00:00 Jan 01 2001", "00:00:00 Jan 01 2001 a b c d"} {
		if _, _, _, err := parseLifetime(wrong); err == nil {
			t.Errorf("%q is taken for a lifetime", wrong)
		}
	}
}
