package cli

import (
	"io"
	"strings"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/store"
)

// step is one thing that bootstrap, enroll or revoke saw to.
type step struct {
	Server string `json:"server"`
	What   string `json:"what"`
	Action string `json:"action"`
	Note   string `json:"note,omitempty"`
}

// would is an action as a dry run tells of it.
func would(action string, dry bool) string {
	if dry {
		return "would be " + action
	}
	return action
}

func vaultSteps(done []custody.Step) []step {
	steps := make([]step, 0, len(done))
	for _, d := range done {
		action := string(d.Action)
		if d.Action != custody.Existed && d.Action != custody.Absent {
			action = would(action, d.Dry)
		}
		steps = append(steps, step{serverVault, d.What, action, strings.Join(d.Differed, ", ")})
	}
	return steps
}

func etcdSteps(done []store.Step, dry bool) []step {
	steps := make([]step, 0, len(done))
	for _, d := range done {
		action := string(d.Action)
		if d.Action == store.Unchanged {
			action = "exists"
		} else {
			action = would(action, dry)
		}
		steps = append(steps, step{serverEtcd, strings.TrimPrefix(d.What, "etcd: "), action, ""})
	}
	return steps
}

// steps prints what was seen to.
func (f format) steps(w io.Writer, steps []step) error {
	if f != asTable {
		return f.print(w, steps)
	}
	rows := make([][]string, 0, len(steps))
	for _, s := range steps {
		action := s.Action
		if s.Note != "" {
			action += " (" + s.Note + ")"
		}
		rows = append(rows, []string{s.Server, s.What, action})
	}
	if len(rows) > 0 {
		table(w, []string{"SERVER", "WHAT", "STATE"}, rows)
	}
	return nil
}

// errorsAfter is the error that matters of what was printed and of what was done.
func errorsAfter(printed, done error) error {
	if done != nil {
		return done
	}
	return printed
}
