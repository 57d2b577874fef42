package backup

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"github.com/keyorch/keyorch/fault"
)

// Recipients reads recipients, one a line: age1… and the public keys of SSH. Empty lines
// and those that begin with # are left out. Faults: Invalid, naming the line.
func Recipients(where string, from io.Reader) ([]age.Recipient, error) {
	var out []age.Recipient
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		r, err := recipient(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s, line %d: not a recipient: age1… or the public key of an SSH key (ed25519 or RSA)", where, n)
		}
		out = append(out, r)
	}
	return out, fault.Wrap(fault.Invalid, lines.Err(), "read %s", where)
}

func recipient(text string) (age.Recipient, error) {
	if strings.HasPrefix(text, "ssh-") {
		return agessh.ParseRecipient(text)
	}
	return age.ParseX25519Recipient(text)
}

// Identities reads the keys that may open a backup: a file of age-keygen, or a private
// key of SSH without a passphrase. What it reads is not repeated in errors. Faults:
// Invalid.
func Identities(where string, from io.Reader) ([]age.Identity, error) {
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(from, most))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read %s", where)
	}
	if strings.HasPrefix(string(data), "-----BEGIN") {
		id, err := agessh.ParseIdentity(data)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s: not a private key of SSH (ed25519 or RSA) without a passphrase", where)
		}
		return []age.Identity{id}, nil
	}
	ids, err := age.ParseIdentities(strings.NewReader(string(data)))
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: not a file of age identities (AGE-SECRET-KEY-1…), as age-keygen makes it", where)
	}
	return ids, nil
}

// Encrypt writes to recipients what is written to it. Closing it writes the end.
func Encrypt(to io.Writer, recipients []age.Recipient) (io.WriteCloser, error) {
	if len(recipients) == 0 {
		return nil, fault.New(fault.Invalid, "encrypt the backup: no recipient: say --recipient or --recipients-file")
	}
	w, err := age.Encrypt(to, recipients...)
	return w, fault.Wrap(fault.Invalid, err, "encrypt the backup")
}

// Decrypt reads what was encrypted. Faults: Refused when none of the identities fits;
// Invalid for what age has not encrypted.
func Decrypt(from io.Reader, identities []age.Identity) (io.Reader, error) {
	r, err := age.Decrypt(from, identities...)
	var other *age.NoIdentityMatchError
	switch {
	case errors.As(err, &other):
		return nil, fault.New(fault.Refused, "open the backup: none of the identities is one that it was encrypted to")
	case err != nil:
		return nil, fault.New(fault.Invalid, "open the backup: it is not encrypted with age, or its beginning is damaged")
	}
	return r, nil
}
