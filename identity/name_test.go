package identity_test

import (
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

func TestCommonNames(t *testing.T) {
	for name, want := range map[string]identity.Identity{
		"root":                     {Role: identity.Admin},
		"keyorch-worker":           {Role: identity.Worker},
		"keyorch-operator.alice":   {Role: identity.Operator, Person: "alice"},
		"keyorch-operator-3.alice": {Role: identity.Operator, Person: "alice", Generation: 2},
		"keyorch-agent.dc2":        {Role: identity.Agent, Site: "dc2"},
		"keyorch-agent.dc2.spine1": {Role: identity.Agent, Site: "dc2", Node: "spine1"},
		"keyorch-agent-2.dc2":      {Role: identity.Agent, Site: "dc2", Generation: 1},
	} {
		got, err := identity.ParseCommonName(name)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if got.CommonName() != name {
			t.Errorf("%+v is called %s, want %s", got, got.CommonName(), name)
		}
	}
}

func TestOtherCommonNamesAreRefused(t *testing.T) {
	for _, name := range []string{
		"", "root.x", "root-2", "Root", "keyorch-agent", "keyorch-agent.", "keyorch-agent..x", "keyorch-agent.dc2.", "keyorch-agent.dc2.a.b",
		"keyorch-agent-1.dc2", "keyorch-agent-02.dc2", "keyorch-agent--2.dc2", "keyorch-agent-+2.dc2", "keyorch-agent2.dc2", "keyorch-worker.",
		"keyorch-operator.a/b", "keyorch-operator.a.b", "keyorch-agent.dc2/../x", "keyorch-workers", " keyorch-worker",
		"keyorch-agent.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
	} {
		if i, err := identity.ParseCommonName(name); fault.Of(err) != fault.Invalid {
			t.Errorf("%q: %+v, %v", name, i, err)
		}
	}
}

func FuzzParseCommonName(f *testing.F) {
	for _, seed := range []string{"root", "keyorch-agent.dc2.spine1", "keyorch-agent-2.dc2", "keyorch-operator.alice", "keyorch-agent-1.x", "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		i, err := identity.ParseCommonName(name)
		if err != nil {
			if fault.Of(err) != fault.Invalid {
				t.Errorf("%q: %v is not Invalid", name, err)
			}
			return
		}
		if i.CommonName() != name || i.Valid() != nil {
			t.Errorf("%q: %+v is called %s", name, i, i.CommonName())
		}
	})
}
