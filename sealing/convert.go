package sealing

import (
	"context"
	"errors"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/fault"
)

// Converter is Temporal's own data converter, sealed with k. In a workflow, a payload
// that cannot be opened ends nothing: the workflow waits until a worker with the key
// takes it up.
func (k *Keys) Converter() converter.DataConverter {
	return outside{converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), k)}
}

// Failures is Temporal's own failure converter. If k seals, messages and stack traces
// of failures are sealed, too.
func (k *Keys) Failures() converter.FailureConverter {
	return temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		DataConverter: k.Converter(), EncodeCommonAttributes: k.Seals(),
	})
}

// outside converts for clients and activities, where an error is an answer.
type outside struct{ converter.DataConverter }

// WithWorkflowContext implements workflow.ContextAware.
func (o outside) WithWorkflowContext(workflow.Context) converter.DataConverter { return waiting(o) }

// WithContext implements workflow.ContextAware.
func (o outside) WithContext(context.Context) converter.DataConverter { return o }

// waiting converts for workflows. An error would fail the workflow for good, halfway
// through a rotation, because its worker was given the wrong file. A panic fails the
// task alone, which Temporal hands out again.
type waiting struct{ converter.DataConverter }

func (w waiting) FromPayload(p *commonpb.Payload, v any) error {
	return opened(w.DataConverter.FromPayload(p, v))
}

func (w waiting) FromPayloads(p *commonpb.Payloads, v ...any) error {
	return opened(w.DataConverter.FromPayloads(p, v...))
}

func opened(err error) error {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		panic(f.Error())
	}
	return err
}
