// Package workflows drives rotations on Temporal. A workflow decides nothing
// about keys: it feeds events to link.Step and has saved what comes out.
//
// One Rotate workflow drives a batch of links through three activities, each of
// which acts on the whole batch:
//
//	Begin  takes the links over, mints a wrapped key where one is due, and writes
//	       the first state and its orders
//	Await  watches what the nodes report and returns what there is so far, so that
//	       a slow link never delays a fast one
//	Save   writes states and the orders that follow from them
//
// One Campaign workflow deals the links of a fleet to waves of such batches. It
// asks campaign.Next what to do, and counts how its links stand in the store
// rather than wait for its batches. Beside the workflows a worker runs Mend, which
// gives links a new epoch that cannot wait for a campaign, and Tend, which keeps
// the records of campaigns true.
//
// The truth is in the store: a workflow that is lost loses no state, and the
// next one adopts its links. Wrapped keys go from the custodian to the store
// inside Begin and are in no payload; package secret cannot be imported here, so
// no key can reach a history.
package workflows
