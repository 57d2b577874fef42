// Package link is the rotation of one link as pure code: upstream nodes that
// send, downstream nodes that accept, one key that replaces another.
//
//	         Rotate          all confirmed       all confirmed       drained
//	Steady ─────────▶ Staging ─────────▶ Switching ─────────▶ Draining ─────────▶ Retiring ──▶ Steady
//	                     │ Abort               │ Abort             │ Abort            (all confirmed)
//	                     ▼ exchange            ▼ exchange          ▼ exchange
//	                  Retiring             Switching           Switching
//
// Going back is not a second machine: it is the same one with From and To
// exchanged. The machine turns round by itself in one case: a node still sends
// with From and may never send with To (see State.stranded).
//
// Step applies one event to a State, Orders says what every node must do in a
// State, the gates say whether the next step is wise now, and Explain says all of
// it to an operator. Quorum says which nodes need not be waited for, and Drift
// where nodes differ from what was asked of them.
//
// There is deliberately no clock, no I/O, no logger, no map and no goroutine:
// times come in with events, and the workflow, the model checker and the tests
// all drive the same code. All transitions are in step.go, and a transition
// found anywhere else is a bug.
package link
