package workflows

import (
	"context"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Trier sends test events to webhooks. It alone has their secrets.
type Trier interface {
	// Try sends one to each of the webhooks named, or to all, and gives what came back.
	// Faults: Invalid for one that is not declared.
	Try(ctx context.Context, names []string, by string) ([]Tried, error)
}

// Tried is what came back from one webhook.
type Tried struct {
	Webhook string `json:"webhook"`
	Format  string `json:"format"`
	// Host is where it was sent: the rest of a URL may be a secret.
	Host   string        `json:"host,omitempty"`
	ID     string        `json:"id"`
	Status int           `json:"status,omitempty"` // of HTTP; zero when nothing came back
	Took   time.Duration `json:"took"`             // in nanoseconds
	// Said is the beginning of the answer, without secrets, and Error why the event was not
	// taken.
	Said  string `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
}

// TryRequest names the webhooks, none for all, and who asks.
type TryRequest struct {
	Webhooks []string `json:"webhooks,omitempty"`
	By       string   `json:"by"`
}

// Trial is what TryWebhooks does in the world. Make one with NewTrial.
type Trial struct{ webhooks Trier }

// NewTrial wires the activity by hand.
func NewTrial(webhooks Trier) *Trial { return &Trial{webhooks: webhooks} }

// tryTime bounds the trial, which waits for the slowest receiver.
const tryTime = time.Minute

// TryWebhooks has a worker send test events: the secrets are on its side. It tries once,
// since a person waits for what comes back.
func TryWebhooks(ctx workflow.Context, q TryRequest) ([]Tried, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: tryTime, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
	})
	var out []Tried
	err := workflow.ExecuteActivity(ctx, (*Trial).SendTests, q).Get(ctx, &out)
	return out, err
}

// SendTests sends the test events.
func (t *Trial) SendTests(ctx context.Context, q TryRequest) ([]Tried, error) {
	out, err := t.webhooks.Try(ctx, q.Webhooks, q.By)
	return out, failure(err)
}
