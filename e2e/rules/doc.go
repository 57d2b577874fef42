// Package rules compares the rules by which a sender moves to a new key and a
// receiver gives up the old one: those that other systems document or have in
// their source, and keyorch's own. Each rule is one short file that says whose it
// is, what was read about it and how it is modelled. All of them drive the same
// simulated devices (devices/sim), through the same management, over the same
// time, and the packets are counted by the network.
//
// What is compared is the rule alone. None of the other systems runs here, and
// each of them has more to it than its rule. Where nothing public says what a
// system does, the model does what costs the fewest packets, and says so.
//
// There is no Vault and there are no agents: the keys are random, and whoever
// drives a rule hands them out by itself. keyorch's rule is link.Step, the code
// that the product runs.
package rules
