// Package notify tells people and their systems, by webhooks, of what they would want to
// know at once: a link that is held too long, a budget that is spent, a node that
// nobody serves.
//
// What is told is derived, not sent by whoever notices: Next is a pure function from the
// conditions that hold, the time, and what was told before. A condition that begins to
// hold is an Event, and one that ends is told as its resolution, to those alone who heard
// of it. So nothing is told twice or forgotten by a worker that dies, and nothing of this
// is in the way of a rotation.
//
// What is to be sent waits in an outbox, which is written in the same transaction as what
// was told. Each receiver has a courier of its own, which sends one event after the other
// and tries one again until it was taken or its time is over: a receiver that is dead or
// slow delays no other. An event may arrive twice, with the same id.
//
// Secrets are read from files of the worker when something is sent, and are in no event,
// no error and no log.
package notify
