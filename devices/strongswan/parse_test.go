package strongswan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strongswan/govici/vici"

	"github.com/keyorch/keyorch/keychain"
)

// show writes a message as one line.
func show(m *vici.Message) string {
	var b strings.Builder
	for _, key := range m.Keys() {
		switch v := m.Get(key).(type) {
		case string:
			fmt.Fprintf(&b, "%s=%s ", key, v)
		case []string:
			fmt.Fprintf(&b, "%s%v ", key, v)
		case *vici.Message:
			fmt.Fprintf(&b, "%s{%s} ", key, show(v))
		}
	}
	return b.String()
}

var (
	four = keychain.Ref{Epoch: 4, KCV: "a1b2c3d4e5"}
	five = keychain.Ref{Epoch: 5, KCV: "0f1e2d3c4b"}
)

func TestNamesReadBack(t *testing.T) {
	long := keychain.LinkID(strings.Repeat("l", keychain.MaxName))
	last := keychain.Ref{Epoch: 1<<64 - 1, KCV: "a1b2c3d4e5"}
	if name := nameOf(long, last); len(name) > maxFieldName {
		t.Errorf("%s does not fit into a message", name)
	}
	for _, link := range []keychain.LinkID{"a", "a-b", long} {
		if got, ok := parseName(link, nameOf(link, last)); !ok || got != last {
			t.Errorf("%s reads back as %v, %v", nameOf(link, last), got, ok)
		}
	}
	for _, name := range []string{
		"", "keyorch", "keyorch.a-b.", "keyorch.a-b.e4", "keyorch.a.e4-a1b2c3d4e5", "keyorch.a-b.e4-a1b2c3d4e5.x",
		"keyorch.a-b.e04-a1b2c3d4e5", "Keyorch.a-b.e4-a1b2c3d4e5", "a-b.e4-a1b2c3d4e5", "keyorch.a-b-c.e4-a1b2c3d4e5",
	} {
		if ref, ok := parseName("a-b", name); ok {
			t.Errorf("%q is taken for %v", name, ref)
		}
	}
}

// sa is a list-sa event as charon 5.9.8 sends it, without what is not read.
func sa(name, id, state string, children ...*vici.Message) *vici.Message {
	all := vici.NewMessage()
	for i, c := range children {
		_ = all.Set(fmt.Sprintf("child-%d", i), c)
	}
	return message(name, message("uniqueid", id, "state", state, "ppk", "yes", "child-sas", all))
}

func child(name, id, state string) *vici.Message {
	return message("name", name, "uniqueid", id, "state", state, "packets-in", "0")
}

func parse(events ...*vici.Message) (all associations) {
	for _, e := range events {
		all = append(all, parseSAs("a-b", e)...)
	}
	return all
}

func TestWhatIsSentWithIsReadFromTheSAs(t *testing.T) {
	of := func(r keychain.Ref) string { return nameOf("a-b", r) }
	up := "ESTABLISHED"
	for _, c := range []struct {
		what string
		sas  associations
		want keychain.Ref
	}{
		{"nothing", parse(), keychain.Ref{}},
		{"no event", parse(nil), keychain.Ref{}},
		{"one SA", parse(sa(of(four), "1", up, child("net", "1", "INSTALLED"))), four},
		{"somebody else's", parse(sa("office", "1", up, child("net", "1", "INSTALLED"))), keychain.Ref{}},
		{"another link's", parse(sa(nameOf("b-a", four), "1", up, child("net", "1", "INSTALLED"))), keychain.Ref{}},
		{"not established", parse(sa(of(four), "1", "CONNECTING")), keychain.Ref{}},
		{"being installed", parse(sa(of(four), "1", up, child("net", "1", "INSTALLING"))), keychain.Ref{}},
		{"on its way out", parse(sa(of(four), "1", "DELETING", child("net", "1", "INSTALLED"))), keychain.Ref{}},
		{"rekeyed", parse(sa(of(four), "1", up, child("net", "1", "REKEYED"), child("net", "2", "INSTALLED"))), four},
		{"being rekeyed", parse(sa(of(four), "1", up, child("net", "9", "REKEYING"))), four},
		{"another child", parse(sa(of(four), "1", up, child("other", "1", "INSTALLED"))), keychain.Ref{}},
		{"two keys", parse(sa(of(four), "1", up, child("net", "1", "INSTALLED")), sa(of(five), "2", up, child("net", "2", "INSTALLED"))), keychain.Ref{}},
		{"an older one ends", parse(sa(of(four), "1", "DELETING", child("net", "1", "DELETING")), sa(of(five), "2", up, child("net", "2", "INSTALLED"))), five},
		{"reauthenticated", parse(sa(of(four), "1", up, child("net", "1", "INSTALLED")), sa(of(four), "2", up, child("net", "2", "INSTALLED"))), four},
	} {
		if got := c.sas.sends([]string{"net"}); got != c.want {
			t.Errorf("%s: it sends with %v, want %v", c.what, got, c.want)
		}
	}
}

func TestTheYoungestLeadsAndTheOthersAreSurplus(t *testing.T) {
	all := parse(
		sa(nameOf("a-b", four), "3", "ESTABLISHED", child("net", "9", "INSTALLED")),
		sa(nameOf("a-b", five), "4", "ESTABLISHED", child("net", "10", "INSTALLED"), child("net", "11", "INSTALLED"), child("more", "12", "INSTALLED")),
		sa("office", "5", "ESTABLISHED", child("net", "99", "INSTALLED")),
	)
	if all.lead(four, []string{"net"}) || !all.lead(five, []string{"net", "more"}) || all.lead(five, []string{"net", "third"}) {
		t.Error("ten is younger than nine, and a child that is not there does not lead")
	}
	ikes, children := all.surplus(five)
	if !slices.Equal(ikes, []string{"3"}) || !slices.Equal(children, []string{"10"}) {
		t.Errorf("surplus: IKE SAs %v, CHILD_SAs %v; want 3 and 10", ikes, children)
	}
}

func TestTheLogSaysWhyAnSAWasNotEstablished(t *testing.T) {
	no := refusal("establishing CHILD_SA 'net' failed")
	for _, c := range []struct{ line, want string }{
		{"received AUTHENTICATION_FAILED notify error", "the peer does not accept it: AUTHENTICATION_FAILED"},
		{"received NO_PROPOSAL_CHOSEN notify error", "the peer does not accept it: NO_PROPOSAL_CHOSEN"},
		{"received TS_UNACCEPTABLE notify, no CHILD_SA built", "the peer does not accept it: TS_UNACCEPTABLE"},
		{"establishing IKE_SA failed, peer not responding", "the peer does not answer"},
		{"PPK required but peer does not support PPK", "the responder uses no PPK: it holds none at all, or knows none"},
		{"derive keys using PPK 0123456789abcdef", string(no)},
		{"received packet: from 10.9.0.2[500]", string(no)},
		{"", string(no)},
	} {
		log := []*vici.Message{message("msg", "initiating IKE_SA"), message("msg", c.line), vici.NewMessage(), nil}
		if got := diagnose(log, no); got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestWhatCharonSaysIsOneShortLine(t *testing.T) {
	for said, want := range map[string]string{
		"": "it does not say why", "a\nb\x00c": "a b c", strings.Repeat("é", 300): strings.Repeat("é", maxWords-1) + "…", "\xff": "?",
	} {
		if got := oneLine(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

// FuzzSAs reads events of any shape: no panic, and no key that is not named.
func FuzzSAs(f *testing.F) {
	f.Add("keyorch.a-b.e4-a1b2c3d4e5", "1", "ESTABLISHED", "net", "INSTALLED")
	f.Add("office", "", "", "", "")
	f.Fuzz(func(t *testing.T, name, id, state, childName, childState string) {
		all := parse(sa(name, id, state, child(childName, id, childState)), message(name, id), message(name, []string{state}))
		if sends := all.sends([]string{childName}); !sends.IsZero() && nameOf("a-b", sends) != name {
			t.Errorf("%q is taken for %v", name, sends)
		}
		ikes, children := all.surplus(four)
		if len(ikes)+len(children) > 1 {
			t.Errorf("one SA is in surplus twice: %v, %v", ikes, children)
		}
	})
}
