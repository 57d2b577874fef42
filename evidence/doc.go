// Package evidence is the whole proof of one rotation of one link in one file: who asked
// for it and with whose consent, when it entered which phase, who confirmed that and with
// which counters, and which nodes have destroyed the key that was retired.
//
// The file is a line that says what it is about, and behind it an export of the trail from the first record that matters up to a signed
// checkpoint. Records of others in between are there by their sums alone. So the file is
// checked offline, by the same hashes and signatures as the trail.
package evidence
