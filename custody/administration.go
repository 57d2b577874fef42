package custody

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
)

// Administration sets Vault up for keyorch and for who is enrolled. Everything that
// it does can be repeated: what is there already is left, and what differs is set
// right.
type Administration struct {
	Vault *Custody // with an administrator's token
	Paths Paths
	// Dry has it look and change nothing.
	Dry bool
}

// Action is what became of one thing.
type Action string

// The actions. With Administration.Dry they are what would have been done.
const (
	Existed Action = "exists"
	Created Action = "created"
	SetTo   Action = "set right" // it was there and differed
	Removed Action = "removed"
	Absent  Action = "absent" // there was nothing to remove
)

// Step is one thing that was seen to.
type Step struct {
	What   string // "policy keyorch-worker"
	Action Action
	// Differed names what was not as it should be, when Action is SetTo.
	Differed []string
	Dry      bool // it would be, and was not
}

// String is s in a line.
func (s Step) String() string {
	words := map[Action]string{Created: "would be created", SetTo: "would be set right", Removed: "would be removed"}
	text := string(s.Action)
	if would := words[s.Action]; s.Dry && would != "" {
		text = would
	}
	if len(s.Differed) > 0 {
		text += " (" + strings.Join(s.Differed, ", ") + ")"
	}
	return s.What + ": " + text
}

// thing is something in Vault with a path that it is read from and written to.
type thing struct {
	what, path string
	want       map[string]any // what is written; what is read back must hold it
	unread     []string       // of want, what Vault does not give back
	bad        error          // what it means when Vault calls it bad
}

// see makes a thing as it should be.
func (a Administration) see(ctx context.Context, t thing) (Step, error) {
	step := Step{What: t.what, Action: Existed, Dry: a.Dry}
	absent := errors.New("absent")
	var got map[string]any
	err := a.Vault.read(ctx, call{op: "read", path: t.path, what: "reading " + t.path, absent: absent}, &got)
	switch {
	case errors.Is(err, absent), err == nil && len(got) == 0:
		step.Action = Created
	case err != nil:
		return step, err
	default:
		if step.Differed = differs(t, got); len(step.Differed) == 0 {
			return step, nil
		}
		step.Action = SetTo
	}
	if a.Dry {
		return step, nil
	}
	return step, a.Vault.write(ctx, call{op: "write", path: t.path, what: "writing " + t.path, bad: t.bad}, t.want, nil)
}

// differs names the fields of t that got has in another way.
func differs(t thing, got map[string]any) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(t.want)) {
		if !slices.Contains(t.unread, name) && !same(t.want[name], got[name]) {
			names = append(names, name)
		}
	}
	return names
}

// same compares a value as it is written with what Vault gives back: numbers and
// texts by what they say, and lists as sets.
func same(want, got any) bool {
	return slices.Equal(plainly(want), plainly(got))
}

func plainly(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case []string:
		return slices.Sorted(slices.Values(v))
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, fmt.Sprint(one))
		}
		slices.Sort(all)
		return all
	case float64:
		return []string{fmt.Sprintf("%.0f", v)}
	case json.Number:
		return []string{v.String()}
	case string:
		if v == "" {
			return nil
		}
		return []string{strings.TrimSpace(v)}
	}
	return []string{fmt.Sprint(v)}
}

// all does steps one after the other and gives those that were done, also with an
// error.
func all(steps ...func() (Step, error)) ([]Step, error) {
	var done []Step
	for _, step := range steps {
		s, err := step()
		if err != nil {
			return done, err
		}
		done = append(done, s)
	}
	return done, nil
}

// seeAll is all with things.
func (a Administration) seeAll(ctx context.Context, things ...thing) ([]Step, error) {
	var steps []func() (Step, error)
	for _, t := range things {
		steps = append(steps, func() (Step, error) { return a.see(ctx, t) })
	}
	return all(steps...)
}

// remove deletes what is at a path.
func (a Administration) remove(ctx context.Context, what, path string) (Step, error) {
	step := Step{What: what, Action: Removed, Dry: a.Dry}
	absent := errors.New("absent")
	err := a.Vault.read(ctx, call{op: "read", path: path, what: "reading " + path, absent: absent}, nil)
	switch {
	case errors.Is(err, absent):
		step.Action = Absent
		return step, nil
	case err != nil || a.Dry:
		return step, err
	}
	return step, a.Vault.do(ctx, call{op: "delete", path: path, what: "deleting " + path}, nil, func(ctx context.Context) (*api.Response, error) {
		_, err := a.Vault.client.Logical().DeleteWithContext(ctx, path)
		return nil, err
	})
}

func policyThing(name, hcl string) thing {
	return thing{what: "policy " + name, path: "sys/policies/acl/" + name, want: map[string]any{"policy": hcl}}
}
