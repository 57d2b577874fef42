package keychain

// Serial counts the keys of one link as they are put to use, one up for each
// rotation that is still standing: an aborted rotation gives its Serial back, but
// for the first of a link, whose key may stay where it was installed.
// The numbers that devices put on the wire are made from it, not from the
// Epoch, because they are few and wrap. Two keys that live side by side always
// have neighbouring Serials, so their wire numbers differ even right after a
// wrap or after a burned epoch.
type Serial uint32

// Next is the Serial of the key that follows. Serials wrap where all the numbers
// made from them do, at 2³²-256, a multiple of 4 and of 255.
func (s Serial) Next() Serial { return (s + 1) % spiSpace }

// AN is a MACsec association number, 0 to 3 (IEEE 802.1AE, two bits).
type AN uint8

// SPI is an IPsec security parameter index. Values below 256 are reserved
// (RFC 4303, section 2.1).
type SPI uint32

// KeyID is a key-chain or TSIG-like key identifier, 1 to 255: one byte, as in
// OSPFv2 authentication and TCP-AO (RFC 2328, RFC 5925), zero left out.
type KeyID uint8

const (
	anSpace    = 4
	spiFirst   = 256
	spiSpace   = 1<<32 - spiFirst
	keyIDSpace = 255
)

// AN is the MACsec association number of this Serial.
func (s Serial) AN() AN { return AN(s % anSpace) }

// SPI is the IPsec security parameter index of this Serial.
func (s Serial) SPI() SPI { return SPI(spiFirst + uint64(s)%spiSpace) }

// KeyID is the key-chain identifier of this Serial.
func (s Serial) KeyID() KeyID { return KeyID(1 + s%keyIDSpace) }
