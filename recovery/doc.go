// Package recovery rebuilds the record of a link from what its nodes hold, after
// etcd was emptied or put back from an older copy. Rebuild is pure: testimonies in,
// a link.Record or a reason not to have one out.
//
// Three rules, which the model check in link tries to break:
//
//   - Nothing goes backwards. The Turn is far above every Turn that a node has
//     obeyed, and the highest epoch is the highest that anybody has seen: on a device,
//     in a journal, in the old record.
//   - Nothing is caused. The link is on the key that its senders use. A key that was
//     staged, and that nobody sends with, is taken back; nobody is sent to a key that
//     no sender has.
//   - Nothing is forgotten in haste. As long as a second key may still be in use, the
//     rebuilt record is in Switching: downstream accepts both, and the second one goes
//     only after every sender has confirmed the first, and after the drain time.
//
// What nodes contradict each other about is held: there is no record, the worker
// refuses the link (link.State.Behind), and the reason says what helps.
package recovery
