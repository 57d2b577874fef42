// Package audit says what is written down about who did what, and proves that nothing
// of it was changed afterwards.
//
// A Record is one thing that happened: a verb that a person used, a phase that a link
// entered, a node's confirmation, a refusal. Whoever does the thing writes its records
// into an inbox of its own, in the same transaction (package store). One worker at a time takes
// the inboxes and appends them to a chain.
//
// The package has no I/O of its own but what it is given to read and write.
package audit
