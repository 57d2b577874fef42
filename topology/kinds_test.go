package topology_test

import (
	"errors"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// someKinds are device kinds of every sort: two that can stage, two that cannot.
func someKinds() topology.Kinds {
	can := func(accept int, separate bool) topology.Kind {
		return topology.Kind{Check: func(topology.Device) (keychain.Capabilities, error) {
			return keychain.Capabilities{AcceptMany: accept, SwitchSeparate: separate}, nil
		}}
	}
	return topology.Kinds{
		"sim": can(2, true),
		"picky": {Check: func(topology.Device) (keychain.Capabilities, error) {
			return keychain.Capabilities{}, fault.Wrap(fault.Invalid, errors.Join(
				fieldError{"command[1]", "it is empty"}, fieldError{"env.PATH", "it is not absolute"}, errors.New("and more")), "check the device")
		}},
		"single": can(1, true),
		"direct": can(2, false),
		"exec": {Check: func(d topology.Device) (keychain.Capabilities, error) {
			if command, ok := d.Params["command"].([]any); !ok || len(command) == 0 {
				return keychain.Capabilities{}, errors.New("command is missing:\nlist the program and its arguments")
			}
			return keychain.Capabilities{AcceptMany: 4, SwitchSeparate: true}, nil
		}},
		"both": {Check: can(2, true).Check, Part: func(_ topology.Device, p keychain.Part) error {
			if p.Sends && p.Accepts {
				return nil
			}
			return fault.New(fault.Invalid, "on link %s it must stand on both sides", p.Link)
		}},
	}
}

// fieldError is how a kind of device says which parameter it refuses.
type fieldError struct{ field, message string }

func (e fieldError) Error() string { return e.field + ": " + e.message }
func (e fieldError) Field() string { return e.field }

// parse reads one text and fails the test if it is refused.
func parse(t *testing.T, text string, declared topology.Topology) topology.Topology {
	t.Helper()
	got, err := topology.Parse([]topology.Source{{Name: "test.yaml", Data: []byte(text)}}, someKinds(), declared)
	if err != nil {
		t.Fatalf("parse:\n%v", err)
	}
	return got
}
