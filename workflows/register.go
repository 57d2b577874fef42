package workflows

import (
	"go.temporal.io/sdk/worker"
)

// Register tells a worker of the workflows and of the activities that a, f, r and t
// provide. There is one list, and it is here.
func Register(w worker.Registry, a *Activities, f *Fleet, r *Resealing, t *Trial) {
	w.RegisterWorkflow(Rotate)
	w.RegisterWorkflow(Campaign)
	w.RegisterActivity(a.Begin)
	w.RegisterActivity(a.Await)
	w.RegisterActivity(a.Save)
	w.RegisterActivity(a.ConsentToAbort)
	w.RegisterActivity(f.PlanCampaign)
	w.RegisterActivity(f.SaveCampaign)
	w.RegisterActivity(f.LaunchBatches)
	w.RegisterActivity(f.Follow)
	w.RegisterActivity(f.HaltBatches)
	w.RegisterActivity(f.RetryHeld)
	w.RegisterWorkflow(Rewrap)
	w.RegisterActivity(r.RewrapKeys)
	w.RegisterWorkflow(TryWebhooks)
	w.RegisterActivity(t.SendTests)
}
