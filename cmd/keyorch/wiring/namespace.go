package wiring

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/keyorch/keyorch/fault"
)

// EnsureNamespace makes the namespace that the settings name unless it is there, and
// says whether it was, or in a dry run would be, made. What has ended is kept there for
// retention. Temporal Cloud makes namespaces in other ways: there it must exist.
// Faults: those of Dial.
func (t Temporal) EnsureNamespace(ctx context.Context, retention time.Duration, dry bool) (name string, made bool, err error) {
	options, err := t.options(nil)
	if err != nil {
		return "", false, err
	}
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.NewLazyClient(options)
	if err != nil {
		return "", false, t.unanswered(ctx, options, err)
	}
	defer c.Close()
	service := c.WorkflowService()
	_, err = service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: options.Namespace})
	var missing *serviceerror.NamespaceNotFound
	var unknown *serviceerror.NotFound
	switch {
	case err == nil:
		return options.Namespace, false, nil
	case !errors.As(err, &missing) && !errors.As(err, &unknown):
		return "", false, t.unanswered(ctx, options, err)
	case dry:
		return options.Namespace, true, nil
	}
	_, err = service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: options.Namespace, Description: "keyorch", WorkflowExecutionRetentionPeriod: durationpb.New(retention),
	})
	var there *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &there) {
		return "", false, fault.Wrap(fault.Of(t.unanswered(ctx, options, err)), t.unanswered(ctx, options, err), "make namespace %s", options.Namespace)
	}
	return options.Namespace, true, nil
}
