package macsec

import (
	"fmt"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/devices/macsec/secy"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// ssci tells apart those who send with one key and extended packet numbers (IEEE
// 802.1AE-2018, 10.7.13). Every sender has a key of its own here.
const ssci = 1

// material is the key of an SA, derived but not opened yet.
type material struct {
	ref     keychain.Ref
	derived secret.Key
	suite   secy.Suite
}

// derive makes what sender sends with from the link key. The suite and the sender
// are in the label: neither another suite nor another sender under the same link
// key ever uses the same key, so that none of their nonces can meet.
func (d *Device) derive(op string, sa keychain.SA, key secret.Key, suite secy.Suite, sender secy.SCI) (material, error) {
	n := suite.KeySize()
	if n == 0 {
		return material{}, fault.New(fault.Unavailable, "%s epoch %d on %s: the interface has cipher suite %s, which keyorch does not know", op, sa.Epoch, d.node, suite)
	}
	if suite.XPN() {
		n += secy.SaltSize
	}
	label := fmt.Sprintf("keyorch/v1 macsec %s %s", suite, sender)
	ref, derived, err := keying.Derive(op, d.node, sa, key, label, n)
	return material{ref, derived, suite}, err
}

// use hands the key over for one call, and wipes it.
func (m material) use(f func(secy.Key) error) error {
	defer m.derived.Wipe()
	return m.derived.Use(func(b []byte) error {
		k := secy.Key{ID: keying.Name(m.ref), Bytes: b[:m.suite.KeySize()]}
		if m.suite.XPN() {
			k.Salt, k.SSCI = b[m.suite.KeySize():], ssci
		}
		return f(k)
	})
}
