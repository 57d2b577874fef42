package topology

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/keychain"
)

// device is what its kind says about the device of one node.
type device struct {
	capabilities keychain.Capabilities
	problems     []finding
}

// device asks the kind of a node's device about it, once.
func (c *checker) device(n Node) device {
	if c.kinds == nil {
		return device{}
	}
	if known, ok := c.devices[n.Name]; ok {
		return known
	}
	var d device
	kind, ok := c.kinds[n.Device.Kind]
	if !ok {
		d.problems = []finding{{at: path{"spec", "device", "kind"}, message: fmt.Sprintf("there is no device kind %q", n.Device.Kind),
			hint: kindHint(n.Device.Kind, slices.Sorted(maps.Keys(c.kinds)))}}
	} else if capabilities, err := kind.Check(n.Device); err != nil {
		d.problems = refusals(err)
	} else {
		d.capabilities = capabilities
	}
	c.devices[n.Name] = d
	return d
}

// partIn says why the device of n, whose parameters are in order, cannot play its
// part in l, or is empty.
func (c *checker) partIn(n Node, l Link) string {
	kind := c.kinds[n.Device.Kind]
	if kind.Part == nil {
		return ""
	}
	part := keychain.Part{
		Link: l.Name, Sends: slices.Contains(l.Upstream, n.Name), Accepts: slices.Contains(l.Downstream, n.Name),
		OtherSenders: len(l.Upstream), Nodes: len(nodesOf(l)),
	}
	if part.Sends {
		part.OtherSenders--
	}
	err := kind.Part(n.Device, part)
	if err == nil {
		return ""
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// refusals are what a kind of device says against the parameters of one, taken
// apart as the comment on Kinds promises.
func refusals(err error) []finding {
	var found []finding
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, e := range joined.Unwrap() {
			found = append(found, refusals(e)...)
		}
	}
	if len(found) > 0 {
		return found
	}
	at, message := path{"spec", "device"}, err.Error()
	if one, ok := errors.AsType[interface {
		error
		Field() string
	}](err); ok {
		field := one.Field()
		message = strings.TrimPrefix(message, field+": ")
		at = at.below(field)
	}
	return []finding{{at: at, message: strings.Join(strings.Fields(message), " ")}}
}

var parameterStep = regexp.MustCompile(`\[([0-9]+)\]|[^.\[\]]+`)
