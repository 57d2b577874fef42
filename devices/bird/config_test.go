package bird_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/bird"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func TestFieldsThatAreWrongAreNamed(t *testing.T) {
	_, err := bird.New("n1", map[string]any{
		"socket": "bird.ctl", "directory": "/etc/\"bird\"", "timeout": "1s", "port": 1,
		"links": map[string]any{
			"l1": map[string]any{"protocols": []any{"rip"}, "algorithm": "md4", "interfaces": []any{""}, "extra": 1},
			"l2": map[string]any{"protocols": []any{}},
		},
	})
	for _, want := range []string{
		`socket: "bird.ctl" is not an absolute path`, `directory: "/etc/\"bird\"" is not`, `timeout: "1s" is not a duration from 3s to 4m0s`,
		"port: no such field", `links.l1.protocols: "rip" is not one of ospf, bfd`, `links.l1.algorithm: "md4" is not one of hmac sha256`,
		"links.l1.interfaces: the name of an interface is empty", "links.l1.extra: no such field", "links.l2.protocols: the list is empty",
	} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := bird.Capabilities(nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "links: it is missing") {
		t.Errorf("a device without links: %v", err)
	}
}

func TestABirdCanBeStaged(t *testing.T) {
	c, err := bird.Capabilities(map[string]any{"links": map[string]any{"l1": nil}})
	if err != nil || c.CannotStage() != "" || !c.Survives || c.CounterBound {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestANodeStandsOnBothSides(t *testing.T) {
	fields := map[string]any{"links": map[string]any{"l1": nil}}
	for _, c := range []struct {
		link           keychain.LinkID
		sends, accepts bool
		want           string
	}{
		{"l1", true, true, ""},
		{"l1", true, false, "sends and accepts"},
		{"l1", false, true, "under upstream and under downstream of link l1"},
		{"l2", true, true, "no parameters for link l2"},
	} {
		err := bird.Part(fields, keychain.Part{Link: c.link, Sends: c.sends, Accepts: c.accepts, Nodes: 2})
		if (err == nil) != (c.want == "") || !strings.Contains(fmt.Sprint(err), c.want) && c.want != "" || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := bird.Part(nil, keychain.Part{Link: "l1", Sends: true, Accepts: true}); !fault.Is(err, fault.Invalid) {
		t.Errorf("without fields: %v", err)
	}
}
