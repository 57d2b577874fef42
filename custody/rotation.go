package custody

import (
	"context"
	"strconv"
	"strings"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// KEKState is what Vault says of a key-encryption key. Its versions are numbered
// from 1.
type KEKState struct {
	Name string
	// Latest is the version that keys are wrapped under, Opens the oldest under which
	// they are still opened, and Kept the oldest that Vault still has.
	Latest, Opens, Kept int
}

// Version is the version of the KEK under which w is wrapped; 0 for none.
func Version(w keychain.Wrapped) int {
	rest, ok := strings.CutPrefix(w.Ciphertext, "vault:v")
	number, _, cut := strings.Cut(rest, ":")
	n, err := strconv.Atoi(number)
	if !ok || !cut || err != nil || n < 0 {
		return 0
	}
	return n
}

// KEKState reads the state of kek. Errors: Invalid (not the name of a KEK), Refused
// (there is none, or the token may not), Unavailable.
func (c *Custody) KEKState(ctx context.Context, kek string) (KEKState, error) {
	if err := validKEK(kek); err != nil {
		return KEKState{}, fault.Wrap(fault.Invalid, err, "read a KEK")
	}
	var got struct {
		Latest int `json:"latest_version"`
		Opens  int `json:"min_decryption_version"`
		Kept   int `json:"min_available_version"`
	}
	err := c.read(ctx, call{
		op: "read-kek", path: c.mount + "/keys/" + kek, what: "reading key " + kek,
		absent: fault.New(fault.Refused, "read key %s of vault: there is none", kek),
	}, &got)
	return KEKState{Name: kek, Latest: got.Latest, Opens: got.Opens, Kept: max(got.Kept, 1)}, err
}

// RotateKEK gives kek a new version, which every key is wrapped under from now on;
// the older ones still open theirs. Before, it destroys the versions that a finished
// rotation has retired: so the last one can be taken back, and none before. Errors as
// of KEKState.
func (c *Custody) RotateKEK(ctx context.Context, kek string) (KEKState, error) {
	before, err := c.KEKState(ctx, kek)
	if err != nil {
		return KEKState{}, err
	}
	path := c.mount + "/keys/" + kek
	if before.Kept < before.Opens {
		err := c.write(ctx, call{op: "trim-kek", path: path + "/trim", what: "trimming key " + kek, kek: kek},
			map[string]any{"min_available_version": before.Opens}, nil)
		if err != nil {
			return before, err
		}
	}
	if err := c.write(ctx, call{op: "rotate-kek", path: path + "/rotate", what: "rotating key " + kek, kek: kek}, map[string]any{}, nil); err != nil {
		return before, err
	}
	return c.KEKState(ctx, kek)
}

// RetireKEK has Vault open nothing any more that is wrapped under a version of kek
// older than oldest. Errors as of KEKState.
func (c *Custody) RetireKEK(ctx context.Context, kek string, oldest int) error {
	if err := validKEK(kek); err != nil {
		return fault.Wrap(fault.Invalid, err, "retire versions of a KEK")
	}
	return c.write(ctx, call{op: "retire-kek", path: c.mount + "/keys/" + kek + "/config", what: "retiring versions of key " + kek, kek: kek},
		map[string]any{"min_decryption_version": oldest, "min_encryption_version": oldest}, nil)
}

// Sealed is a wrapped key with what it was minted for.
type Sealed struct {
	Link    keychain.LinkID
	Epoch   keychain.Epoch
	Wrapped keychain.Wrapped
}

// Rewrap has Vault wrap keys anew, all under kek, under its latest version. It sees
// no key, and neither does anybody else. Errors: Invalid (a malformed name), Refused
// (the token may not, there is no KEK, or the version under which one is wrapped is
// retired), Mismatch (one was not minted for its link and epoch), Unavailable.
func (c *Custody) Rewrap(ctx context.Context, kek string, keys []Sealed) ([]keychain.Wrapped, error) {
	got, err := c.rewrap(ctx, kek, keys)
	if err != nil {
		return nil, err
	}
	out := make([]keychain.Wrapped, len(keys))
	for i, r := range got {
		k := keys[i]
		switch {
		case strings.Contains(r.Error, saysTooOld):
			return nil, fault.New(fault.Refused, "rewrap epoch %d of %s: %s", k.Epoch, k.Link, retired(k.Wrapped))
		case r.Error != "", !strings.HasPrefix(r.Ciphertext, "vault:v"):
			return nil, fault.New(fault.Mismatch, "rewrap epoch %d of %s: the wrapped key is not of this link and epoch under %s", k.Epoch, k.Link, kek)
		}
		out[i] = keychain.Wrapped{KEK: kek, Ciphertext: r.Ciphertext}
	}
	return out, nil
}

// Opens says of each key, all wrapped under kek, whether Vault could open it: those that
// it could not are of a KEK that was lost and made anew under its name, or under a
// version that is retired. It sees no key. Errors: Invalid (a malformed name), Refused
// (the token may not, or there is no KEK), Unavailable.
func (c *Custody) Opens(ctx context.Context, kek string, keys []Sealed) ([]bool, error) {
	got, err := c.rewrap(ctx, kek, keys)
	if err != nil {
		return nil, err
	}
	opens := make([]bool, len(keys))
	for i, r := range got {
		opens[i] = r.Error == "" && strings.HasPrefix(r.Ciphertext, "vault:v")
	}
	return opens, nil
}

// rewrapped is what Vault says of one key.
type rewrapped struct {
	Ciphertext string `json:"ciphertext"`
	Error      string `json:"error"`
}

func (c *Custody) rewrap(ctx context.Context, kek string, keys []Sealed) ([]rewrapped, error) {
	type item struct {
		Ciphertext string `json:"ciphertext"`
		Context    string `json:"context"`
	}
	items := make([]item, len(keys))
	for i, k := range keys {
		context, err := derivation(k.Link, k.Epoch, k.Wrapped.KEK)
		if err == nil && k.Wrapped.KEK != kek {
			err = fault.New(fault.Invalid, "it is wrapped under another KEK")
		}
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "rewrap epoch %d of %s", k.Epoch, k.Link)
		}
		items[i] = item{k.Wrapped.Ciphertext, context}
	}
	var got struct {
		Batch []rewrapped `json:"batch_results"`
	}
	err := c.write(ctx, call{op: "rewrap", path: c.mount + "/rewrap/" + kek, what: "rewrap under " + kek, kek: kek},
		map[string]any{"batch_input": items}, &got)
	if err == nil && len(got.Batch) != len(keys) {
		err = c.garbled()
	}
	return got.Batch, err
}

// saysTooOld is what Transit says of a version that is retired. It is compared with
// and never shown.
const saysTooOld = "disallowed by policy (too old)"

// retired says in words that the version of w is retired.
func retired(w keychain.Wrapped) string {
	return "it is wrapped under version " + strconv.Itoa(Version(w)) + " of " + w.KEK + ", which is retired"
}
