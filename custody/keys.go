package custody

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// The three forms of a KEK's name.
const (
	siteKEK  = "keyorch-site-"
	sitesKEK = "keyorch-sites-"
	linkKEK  = "keyorch-link-"
)

// KEK names the key-encryption key of link, whose nodes stand in sites, those that
// send among them: the site's own when there is one site, one that two sites share,
// and the link's own when there are more. Nobody but the sites that serve the link
// may use it: not another sender into the same site either. It is empty without a
// site.
func KEK(link keychain.LinkID, sites []keychain.SiteID) string {
	own := slices.Clone(sites)
	slices.Sort(own)
	switch own = slices.Compact(own); len(own) {
	case 0:
		return ""
	case 1:
		return siteKEK + string(own[0])
	case 2:
		return sitesKEK + string(own[0]) + "." + string(own[1])
	}
	return linkKEK + string(link)
}

// Mint has Vault make the key of link under epoch, wrapped for the sites where
// the link's nodes stand. The key itself never leaves Vault. Minting
// again gives another key. Errors: Invalid (a malformed name), Refused (the
// token may not, or there is no KEK), Unavailable.
func (c *Custody) Mint(
	ctx context.Context, link keychain.LinkID, epoch keychain.Epoch, sites []keychain.SiteID,
) (keychain.Wrapped, error) {
	kek := KEK(link, sites)
	derivation, err := derivation(link, epoch, kek)
	if err != nil {
		return keychain.Wrapped{}, fault.Wrap(fault.Invalid, err, "mint a key of %s", link)
	}
	var minted struct {
		Ciphertext string `json:"ciphertext"`
	}
	err = c.write(ctx, call{
		op:   OpMint,
		path: c.mount + "/datakey/wrapped/" + kek,
		what: "datakey/wrapped under " + kek,
		kek:  kek,
	}, map[string]any{"bits": 8 * secret.Size, "context": derivation}, &minted)
	switch {
	case err != nil:
		return keychain.Wrapped{}, err
	case !strings.HasPrefix(minted.Ciphertext, "vault:v"):
		return keychain.Wrapped{}, c.garbled()
	}
	return keychain.Wrapped{KEK: kek, Ciphertext: minted.Ciphertext}, nil
}

// EnsureKEK creates the key-encryption key kek unless it is there: AES-256-GCM,
// derived, not exportable. Errors: Invalid (not the name of a KEK), Refused (the
// token may not, or a key of that name has other properties), Unavailable.
func (c *Custody) EnsureKEK(ctx context.Context, kek string) error {
	if err := validKEK(kek); err != nil {
		return fault.Wrap(fault.Invalid, err, "create a KEK")
	}
	missing, err := c.checkKEK(ctx, kek)
	if !missing {
		return err
	}
	err = c.write(ctx, call{op: "create-kek", path: c.mount + "/keys/" + kek, what: "creating key " + kek, kek: kek}, map[string]any{
		"type": kekType, "derived": true, "exportable": false, "allow_plaintext_backup": false,
	}, nil)
	if err != nil {
		return err
	}
	// Somebody else may have created it meanwhile, in another way.
	_, err = c.checkKEK(ctx, kek)
	return err
}

const kekType = "aes256-gcm96"

// checkKEK reads kek back and refuses one that is not what EnsureKEK makes.
func (c *Custody) checkKEK(ctx context.Context, kek string) (missing bool, err error) {
	var got struct {
		Type       string `json:"type"`
		Derived    bool   `json:"derived"`
		Exportable bool   `json:"exportable"`
		Backup     bool   `json:"allow_plaintext_backup"`
	}
	absent := errors.New("absent")
	what := call{op: "read-kek", path: c.mount + "/keys/" + kek, what: "reading key " + kek, absent: absent}
	switch err := c.read(ctx, what, &got); {
	case errors.Is(err, absent):
		return true, fault.New(fault.Refused, "create key %s: vault does not show it", kek)
	case err != nil:
		return false, err
	}
	wrong := func(how string) error {
		return fault.New(fault.Refused, "use key %s of vault: %s; remove it, or use another mount", kek, how)
	}
	switch {
	case got.Type != kekType:
		return false, wrong("it is not of type " + kekType)
	case !got.Derived:
		return false, wrong("it is not derived, so its wrapped keys would open for any link and epoch")
	case got.Exportable, got.Backup:
		return false, wrong("it can be exported")
	}
	return false, nil
}

// derivation is the context that ties a wrapped key to link and epoch, in
// base64 as Transit wants it. Names hold no '/', so no two pairs give the same.
func derivation(link keychain.LinkID, epoch keychain.Epoch, kek string) (string, error) {
	if err := keychain.ValidName(string(link)); err != nil {
		return "", err
	}
	if epoch == 0 {
		return "", errors.New("epoch 0 is no key")
	}
	if err := validKEK(kek); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "keyorch/v1/%s/%d", link, epoch)), nil
}

// validKEK keeps anything but the name of a KEK out of Vault's paths.
func validKEK(kek string) error {
	for _, form := range []string{siteKEK, linkKEK} {
		if name, ok := strings.CutPrefix(kek, form); ok && keychain.ValidName(name) == nil {
			return nil
		}
	}
	if pair, ok := strings.CutPrefix(kek, sitesKEK); ok {
		a, b, two := strings.Cut(pair, ".")
		if two && a < b && keychain.ValidName(a) == nil && keychain.ValidName(b) == nil {
			return nil
		}
	}
	return errors.New("the name of the KEK is not one of keyorch's")
}

// KCV is the key check value of key. Errors are Invalid: an empty key.
func KCV(key secret.Key) (keychain.KCV, error) {
	check, err := key.Check()
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "check a key")
	}
	return keychain.KCVOf(check), nil
}
