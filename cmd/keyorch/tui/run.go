package tui

import (
	"context"
	"errors"
	"io"

	tea "charm.land/bubbletea/v2"

	"github.com/keyorch/keyorch/fault"
)

// Run shows what s gives on the terminal of in and out until the operator quits
// or ctx ends; neither is an error. The terminal is left as it was, also after a
// panic. Signals are the caller's: they end ctx. Where the terminal can do no
// more than print lines (TERM=dumb), use Lines.
//
// It returns Unknown when the terminal cannot be used.
func Run(ctx context.Context, in io.Reader, out io.Writer, s Source, a Actions) error {
	return run(ctx, s, a, tea.WithInput(in), tea.WithOutput(out))
}

func run(ctx context.Context, s Source, a Actions, options ...tea.ProgramOption) error {
	// What was begun for the screen ends with it.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	options = append(options, tea.WithContext(ctx), tea.WithoutSignalHandler())
	_, err := tea.NewProgram(newModel(ctx, s, a), options...).Run()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return fault.Wrap(fault.Unknown, err, "show the screen")
}
