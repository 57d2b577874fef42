package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// The exit codes. They are part of the command's interface.
const (
	exitOK          = 0
	exitInvalid     = 2
	exitRefused     = 3
	exitHeld        = 4
	exitAborted     = 5
	exitUnavailable = 6
)

// exitError ends the command with a code of its own. Its message may be empty
// when everything has been said.
type exitError struct {
	code    int
	message string
}

func (e *exitError) Error() string { return e.message }

// ExitCode is the one place where kinds of fault become exit codes.
func ExitCode(err error) int {
	var own *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	}
	switch fault.Of(err) {
	case fault.Invalid:
		return exitInvalid
	case fault.Refused, fault.Stale:
		return exitRefused
	case fault.Unavailable:
		return exitUnavailable
	case fault.Mismatch, fault.Unknown:
	}
	return exitHeld
}

// say prints the message of err, if it has one.
func say(w io.Writer, err error) {
	switch {
	case err == nil || err.Error() == "":
	case strings.Contains(err.Error(), "\n"): // a list of problems, each with its place
		_, _ = fmt.Fprintln(w, err)
	default:
		_, _ = fmt.Fprintf(w, "keyorch: %v\n", err)
	}
}

// outcomeCode is the exit code of a rotation: what most needs a person's eye
// wins.
func outcomeCode(results []workflows.Result) int {
	code := exitOK
	for _, o := range []struct {
		outcome link.Outcome
		code    int
	}{{link.Denied, exitRefused}, {link.Aborted, exitAborted}, {link.Skipped, exitHeld}, {link.Held, exitHeld}} {
		for _, r := range results {
			if r.Outcome == o.outcome {
				code = o.code
			}
		}
	}
	return code
}
