package workflows

import (
	"go.temporal.io/sdk/worker"
)

// Register tells a worker of the workflow and of the activities that a
// provides. There is one list, and it is here.
func Register(w worker.Registry, a *Activities) {
	w.RegisterWorkflow(Rotate)
	w.RegisterActivity(a.Begin)
	w.RegisterActivity(a.Await)
	w.RegisterActivity(a.Save)
}
