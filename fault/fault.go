// Package fault is the one list of how things fail in keyorch. Every interface
// says which kinds it returns; one function in package workflows maps kinds to
// Temporal retry behaviour and one in cmd/keyorch maps them to exit codes.
//
// Messages are lower case, "verb object: cause", and never hold key bytes, a
// token, or a server's raw answer.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind is how something failed, which is also what the caller may do about it.
type Kind uint8

// The kinds, from the caller's own fault to the world's. The zero Kind is
// Unknown on purpose: an error that nobody classified may have happened.
const (
	// Unknown: no answer, or none that can be trusted; it may have happened.
	// Look again before repeating.
	Unknown Kind = iota
	// Invalid: the caller asked for something malformed. Repeating is useless.
	Invalid
	// Refused: a fair request that the present state does not allow. Read again
	// first.
	Refused
	// Stale: a newer turn or a newer owner has been here. Stop quietly.
	Stale
	// Mismatch: what was observed is not what was expected. The link is held.
	Mismatch
	// Unavailable: a server or a device could not be reached, or was too busy;
	// nothing happened. Try again later.
	Unavailable
)

// String is the kind in lower case: the form used in records and messages.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case Refused:
		return "refused"
	case Stale:
		return "stale"
	case Mismatch:
		return "mismatch"
	case Unavailable:
		return "unavailable"
	case Unknown:
	}
	return "unknown"
}

// ParseKind reads what String wrote. Anything else is Unknown.
func ParseKind(s string) Kind {
	for _, k := range []Kind{Invalid, Refused, Stale, Mismatch, Unavailable} {
		if k.String() == s {
			return k
		}
	}
	return Unknown
}

// Retryable reports whether the same request may succeed later without anybody
// changing anything. After Unknown the caller observes before it repeats.
func (k Kind) Retryable() bool { return k == Unknown || k == Unavailable }

// Error is a failure with its kind.
type Error struct {
	Kind    Kind
	Message string // "verb object", lower case
	Cause   error  // may be nil
}

// Error is "message: cause".
func (e *Error) Error() string {
	switch {
	case e.Cause == nil:
		return e.Message
	case e.Message == "":
		return e.Cause.Error()
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of kind k. A %w in format keeps its operand as the cause.
func New(k Kind, format string, a ...any) error {
	err := fmt.Errorf(format, a...)
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }:
		return &Error{Kind: k, Cause: err}
	}
	return &Error{Kind: k, Message: err.Error()}
}

// Wrap puts a kind and "verb object" before err. It returns nil for nil.
func Wrap(k Kind, err error, format string, a ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, Message: fmt.Sprintf(format, a...), Cause: err}
}

// Of is the kind of err: that of the outermost Error in its chain. A deadline
// or a cancellation that nobody classified is Unknown, like any other error.
func Of(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Unknown
}

// Is reports whether err is not nil and of kind k.
func Is(err error, k Kind) bool { return err != nil && Of(err) == k }

// Ended reports whether err comes from the caller's own context having ended,
// which is nobody's failure.
func Ended(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err())
}
