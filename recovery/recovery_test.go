package recovery_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/recovery"
)

func ref(e keychain.Epoch) keychain.Ref {
	return keychain.Ref{Epoch: e, KCV: keychain.KCVOf([5]byte{byte(e)})}
}

func key(e keychain.Epoch) link.Key { return link.Key{Ref: ref(e), Serial: keychain.Serial(e)} }

func sender(n keychain.NodeID, turn keychain.Turn, sends, told keychain.Epoch) recovery.Testimony {
	t := recovery.Testimony{Node: n, Turn: turn, Noted: true}
	if sends != 0 {
		t.Sends = ref(sends)
	}
	if told != 0 {
		t.Send = key(told)
	}
	return t
}

func receiver(n keychain.NodeID, turn keychain.Turn, accepts []keychain.Epoch, told ...keychain.Epoch) recovery.Testimony {
	t := recovery.Testimony{Node: n, Turn: turn, Noted: true}
	for _, e := range accepts {
		t.Accepts = append(t.Accepts, ref(e))
	}
	for _, e := range told {
		t.Accept = append(t.Accept, key(e))
	}
	return t
}

func casus(told ...recovery.Testimony) recovery.Case {
	return recovery.Case{
		Link: "a-b", Upstream: []keychain.NodeID{"u1", "u2"}, Downstream: []keychain.NodeID{"d1", "d2"}, Told: told,
		Supplied: []keychain.Epoch{1, 2, 3, 4, 5, 6},
	}
}

func list(e ...keychain.Epoch) []keychain.Epoch { return e }

// TestRebuild has a case for each phase, and for each reason to hold a link.
func TestRebuild(t *testing.T) {
	steady := casus(sender("u1", 8, 4, 4), sender("u2", 8, 4, 4), receiver("d1", 9, list(4), 4), receiver("d2", 9, list(4), 4))
	for _, c := range []struct {
		name     string
		c        recovery.Case
		outcome  recovery.Outcome
		from, to keychain.Epoch
		says     string
	}{
		{"Steady", steady, recovery.Rebuilt, 0, 4, ""},
		{"Staging is taken back", casus(sender("u1", 8, 4, 4), sender("u2", 8, 4, 4), receiver("d1", 10, list(4, 5), 4, 5), receiver("d2", 9, list(4), 4)),
			recovery.InFlight, 5, 4, "epoch 5 on its nodes still"},
		{"Switching goes on", casus(sender("u1", 11, 5, 5), sender("u2", 8, 4, 4), receiver("d1", 10, list(4, 5), 4, 5), receiver("d2", 10, list(4, 5), 4, 5)),
			recovery.InFlight, 4, 5, ""},
		{"Draining goes on", casus(sender("u1", 11, 5, 5), sender("u2", 11, 5, 5), receiver("d1", 10, list(4, 5), 4, 5), receiver("d2", 10, list(4, 5), 4, 5)),
			recovery.InFlight, 4, 5, ""},
		{"Retiring goes on, though no journal has the old key", casus(sender("u1", 11, 5, 5), sender("u2", 11, 5, 5),
			receiver("d1", 13, list(4, 5), 5), receiver("d2", 13, list(5), 5)), recovery.InFlight, 4, 5, ""},
		{"nobody knows anything", casus(recovery.Testimony{Node: "u1"}, recovery.Testimony{Node: "u2"}, recovery.Testimony{Node: "d1"}, recovery.Testimony{Node: "d2"}),
			recovery.Unused, 0, 0, ""},
		{"a first key that nobody was asked to send", casus(recovery.Testimony{Node: "u1"}, recovery.Testimony{Node: "u2"},
			receiver("d1", 1, list(1), 1), receiver("d2", 1, nil, 1)), recovery.Rebuilt, 0, 0, "no sender was ever given a key"},
		{"all senders have restarted", casus(sender("u1", 8, 0, 4), sender("u2", 8, 0, 4), receiver("d1", 9, list(4), 4), receiver("d2", 9, list(4), 4)),
			recovery.Rebuilt, 0, 4, ""},
		{"a node is missing", casus(steady.Told[:3]...), recovery.Held, 0, 0, "d2 did not answer"},
		{"a device cannot be read", casus(append(slices.Clone(steady.Told[:3]), recovery.Testimony{Node: "d2", Turn: 9, Blind: "it is unavailable"})...),
			recovery.Held, 0, 0, "device of d2 cannot be read"},
		{"another key under the same epoch", casus(append(slices.Clone(steady.Told[:3]), recovery.Testimony{
			Node: "d2", Turn: 9, Accepts: []keychain.Ref{{Epoch: 4, KCV: "ffffffffff"}}})...), recovery.Held, 0, 0, "KCV"},
		{"three keys in use", casus(sender("u1", 8, 3, 3), sender("u2", 8, 4, 4), receiver("d1", 9, list(3, 4, 5), 3, 4), receiver("d2", 9, list(3, 4), 3, 4)),
			recovery.Held, 0, 0, "accept epochs 5"},
		{"no journal", casus(recovery.Testimony{Node: "u1", Sends: ref(4)}, recovery.Testimony{Node: "u2", Sends: ref(4)},
			recovery.Testimony{Node: "d1", Accepts: []keychain.Ref{ref(4)}}, recovery.Testimony{Node: "d2", Accepts: []keychain.Ref{ref(4)}}),
			recovery.Held, 0, 0, "wire numbers of epoch 4"},
	} {
		v := recovery.Rebuild(c.c)
		s := v.Record.State
		if v.Outcome != c.outcome || !strings.Contains(v.Reason, c.says) || v.Outcome == recovery.Held && v.Next == "" {
			t.Errorf("%s: %s: %s; %s", c.name, v.Outcome, v.Reason, v.Next)
			continue
		}
		if v.Writes() && (s.From.Epoch != c.from || s.To.Epoch != c.to || s.Turn < recovery.Leap) {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

// TestNothingGoesBack has an epoch that was burned, known to one journal alone, and a
// record that is older than the nodes.
func TestNothingGoesBack(t *testing.T) {
	c := casus(sender("u1", 8, 4, 4), sender("u2", 8, 4, 4), receiver("d1", 9, list(4), 4), receiver("d2", 20, list(4), 4))
	c.Told[0].Started, c.Told[0].Lost = list(2, 9), list(9)
	c.Record = link.Record{Link: "a-b", Revision: 7, State: link.State{Highest: 3, Turn: 5, To: key(3), Upstream: c.Upstream, Downstream: c.Downstream}}
	v := recovery.Rebuild(c)
	if s := v.Record.State; v.Outcome != recovery.Rebuilt || s.Highest != 9 || s.Turn != 120 || s.To != key(4) || v.Record.Revision != 7 {
		t.Errorf("%s %s: %+v", v.Outcome, v.Reason, v.Record)
	}
	c.Record = v.Record
	if v := recovery.Rebuild(c); v.Outcome != recovery.Kept {
		t.Errorf("a second time: %s %s", v.Outcome, v.Reason)
	}
	c.Told = c.Told[:2] // now the record is as new as anybody, whoever is missing
	if v := recovery.Rebuild(c); v.Outcome != recovery.Kept || len(v.Missing) != 2 || v.Next == "" {
		t.Errorf("with nodes missing: %+v", v)
	}
}

// TestWithout leaves a node out, and does not forget what it has used.
func TestWithout(t *testing.T) {
	c := casus(sender("u1", 8, 4, 4), sender("u2", 8, 4, 4), receiver("d1", 9, list(4), 4))
	c.Without = []keychain.NodeID{"d2"}
	v := recovery.Rebuild(c)
	if v.Outcome != recovery.Rebuilt || !slices.Equal(v.Record.State.Downstream, []keychain.NodeID{"d1"}) ||
		len(v.Record.Quarantined) != 1 || v.Record.Quarantined[0].Node != "d2" {
		t.Errorf("%s %s: %+v", v.Outcome, v.Reason, v.Record)
	}
	// d2 may have epoch 5, which was staged on it alone: nobody else may be given another
	// key of that name.
	if s := v.Record.State; s.Highest != 4+recovery.Leap {
		t.Errorf("the highest epoch is %d", s.Highest)
	}
	c.Record, c.Record.Revision = v.Record, 7
	if v := recovery.Rebuild(c); v.Outcome != recovery.Kept {
		t.Errorf("a second time: %s %s", v.Outcome, v.Reason)
	}
	c.Record = link.Record{}
	c.Told = append(c.Told, receiver("d2", 9, list(4, 5), 4, 5)) // what it has said counts
	if v := recovery.Rebuild(c); v.Outcome != recovery.Rebuilt || v.Record.State.Highest != 5 {
		t.Errorf("without one that was heard: %s %s: %+v", v.Outcome, v.Reason, v.Record)
	}
	c.Without = []keychain.NodeID{"d1", "d2"}
	if v := recovery.Rebuild(c); v.Outcome != recovery.Held {
		t.Errorf("nobody is left: %s", v.Outcome)
	}
}

// TestNobodyHasTheWrappedKey has senders on two keys, neither of which can be supplied.
func TestNobodyHasTheWrappedKey(t *testing.T) {
	c := casus(sender("u1", 11, 5, 5), sender("u2", 8, 4, 4), receiver("d1", 10, list(4, 5), 4, 5), receiver("d2", 10, list(4, 5), 4, 5))
	c.Supplied = nil
	if v := recovery.Rebuild(c); v.Outcome != recovery.Held || !strings.Contains(v.Reason, "nobody can supply") {
		t.Errorf("%s %s", v.Outcome, v.Reason)
	}
	c = casus(sender("u1", 8, 4, 4), sender("u2", 8, 4, 4), receiver("d1", 9, list(4), 4), receiver("d2", 9, nil, 4))
	c.Supplied = nil
	v := recovery.Rebuild(c)
	s := v.Record.State
	if v.Outcome != recovery.Rebuilt || !s.To.Bare {
		t.Fatalf("%s %s: %+v", v.Outcome, v.Reason, s)
	}
	lost := []keychain.Report{{Node: "d2", Turn: s.Turn}}
	if n := s.Bereft(lost); n != "d2" {
		t.Errorf("%q is bereft, want d2", n)
	}
}

// TestKeysThatVaultDoesNotOpen has records that nobody is ahead of, and wrapped keys that
// are worth nothing: Vault was lost.
func TestKeysThatVaultDoesNotOpen(t *testing.T) {
	c := casus(sender("u1", 8, 4, 4), sender("u2", 8, 4, 4), receiver("d1", 9, list(4), 4), receiver("d2", 9, nil, 4))
	c.Record = link.Record{Link: "a-b", Revision: 7, State: link.State{Highest: 4, Turn: 9, To: key(4), Upstream: c.Upstream, Downstream: c.Downstream}}
	if v := recovery.Rebuild(c); v.Outcome != recovery.Kept {
		t.Fatalf("with its key: %s %s", v.Outcome, v.Reason)
	}
	c.Supplied = nil
	v := recovery.Rebuild(c)
	s := v.Record.State
	if v.Outcome != recovery.Rebuilt || !s.To.Bare || s.Phase != link.Steady || s.Turn != 109 || s.Highest != 4 {
		t.Fatalf("%s %s: %+v", v.Outcome, v.Reason, s)
	}
	if n := s.Bereft([]keychain.Report{{Node: "d2", Turn: s.Turn}}); n != "d2" {
		t.Errorf("%q gets the link a new epoch, want d2", n)
	}
	c.Record = v.Record
	if v := recovery.Rebuild(c); v.Outcome != recovery.Kept {
		t.Errorf("a second time: %s %s", v.Outcome, v.Reason)
	}
	// A key that was staged is one that nobody waits for any more.
	c.Record.State = link.State{Phase: link.Staging, Highest: 5, Turn: 10, From: key(4), To: key(5), Upstream: c.Upstream, Downstream: c.Downstream,
		Awaiting: []keychain.NodeID{"d2"}}
	c.Told[2], c.Told[3] = receiver("d1", 10, list(4, 5), 4, 5), receiver("d2", 10, list(5), 4, 5)
	v = recovery.Rebuild(c)
	if s := v.Record.State; v.Outcome != recovery.InFlight || s.To.Epoch != 4 || !s.To.Bare || !s.From.Bare {
		t.Errorf("in Staging: %s %s: %+v", v.Outcome, v.Reason, s)
	}
}
