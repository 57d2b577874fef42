package exec

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	// DefaultTimeout is how long one run may take unless the topology says
	// otherwise.
	DefaultTimeout = 30 * time.Second
	// DefaultAcceptMany is how many keys the gear is taken to accept at once unless
	// the topology says otherwise: as many as staging needs.
	DefaultAcceptMany = 2
	// maxParams bounds the params of the topology, in bytes of JSON.
	maxParams = 64 << 10
)

// config is a device of kind exec as the topology declares it.
type config struct {
	command      []string
	timeout      time.Duration
	env          map[string]string
	params       json.RawMessage // nil: none
	capabilities keychain.Capabilities
}

func read(fields map[string]any) (config, error) {
	r := params.Read("exec", fields)
	c := config{
		command: r.Strings("command"),
		timeout: r.Duration("timeout", DefaultTimeout, time.Millisecond, time.Hour),
		env:     r.Texts("env"),
		capabilities: keychain.Capabilities{
			AcceptMany:     r.Int("acceptMany", DefaultAcceptMany, 1, 256),
			SwitchSeparate: r.Bool("switchSeparate", true),
			Survives:       r.Bool("survives", false),
			CounterBound:   r.Bool("counterBound", false),
		},
	}
	switch {
	case len(c.command) == 0:
		r.Problem("command", "it is missing: give the program and its arguments as a list, such as [./gear.py, dc2-spine1]")
	case c.command[0] == "":
		r.Problem("command[0]", "the name of the program is empty")
	}
	for _, word := range c.command {
		if strings.ContainsRune(word, 0) {
			r.Problem("command", "a NUL character cannot stand in an argument")
		}
	}
	for name, value := range c.env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			r.Problem("env", "%q cannot be set in an environment", name)
		}
	}
	if free := r.Map("params"); free != nil {
		b, err := json.Marshal(free)
		switch {
		case err != nil:
			r.Problem("params", "it cannot be written as JSON: use texts for the names of fields")
		case len(b) > maxParams:
			r.Problem("params", "it has %d bytes as JSON, at most %d fit", len(b), maxParams)
		}
		c.params = b
	}
	return c, r.Err()
}

// Capabilities is what a device with these fields can do. Errors: Invalid.
func Capabilities(fields map[string]any) (keychain.Capabilities, error) {
	c, err := read(fields)
	if err != nil {
		return keychain.Capabilities{}, err
	}
	return c.capabilities, nil
}

// New is the driver of kind exec: the device of one node, as the topology
// declares it. It runs nothing yet. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{node: node, config: c, name: filepath.Base(c.command[0])}, nil
}
