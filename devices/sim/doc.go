// Package sim is an in-memory network: nodes that hold keys, and traffic between
// them that needs the right ones. It is what the demo, the benchmarks and the
// end-to-end tests rotate, and where it is counted whether a packet was lost.
//
// A packet is sent with the key that its node sends with at that moment, is in
// flight for the network's latency, and is understood only if the receiving node
// then accepts that epoch with that very key. Every packet of a counter-bound
// node has a counter; one that goes out twice with the same key is counted as
// reused.
//
// Link keys do not get into the network. A Device derives a tag key and the KCV
// from the link key (HKDF-SHA256, RFC 5869) and hands over only those, so that a
// network in another process (Serve, Dial) never sees a link key either.
//
// Time is simulated in order: each link is brought up to now, tick by tick and
// packet by packet, before any of its keys changes and whenever it is looked at.
// A late scheduler therefore never loses or delays a packet.
package sim
