package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// JoinToken is what an administrator hands to a new host, once: all that it needs
// to get a certificate of its own. Whoever has it first becomes that identity, so
// it is short-lived, and Vault lets it be used once.
type JoinToken struct {
	Connection
	// EtcdCA and VaultCA are the authorities of the servers, as PEM; VaultCA empty
	// means the system's.
	EtcdCA  string `json:"etcd_ca"`
	VaultCA string `json:"vault_ca,omitempty"`
	// AppRole is the mount and the role ID to log in with the secret ID.
	AppRole struct {
		Mount  string `json:"mount"`
		RoleID string `json:"role_id"`
	} `json:"approle"`
	// Wrapped is Vault's token that gives out the secret ID, once.
	Wrapped Credential `json:"wrapped"`
	Expires time.Time  `json:"expires"`
}

// Credential is a text that must not be shown. It prints as stars.
type Credential string

// String hides it.
func (Credential) String() string { return "***" }

// GoString hides it.
func (Credential) GoString() string { return "***" }

// joinPrefix begins every join token: so that it can be told from other tokens, by
// people and by scanners of leaked secrets. The number is the format's.
const joinPrefix = "keyorch-join-1."

// maxJoinToken is the longest token that is read, in bytes: two chains of
// authorities fit with room to spare.
const maxJoinToken = 256 << 10

// Text is the token as it is handed over: a secret.
func (t JoinToken) Text() (string, error) {
	doc, err := json.Marshal(t)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "make a join token")
	}
	return joinPrefix + base64.RawURLEncoding.EncodeToString(doc), nil
}

// ParseJoinToken reads what Text wrote; space around it does not matter. Errors are
// Invalid and never show a part of it.
func ParseJoinToken(text string) (JoinToken, error) {
	wrong := func(why string, a ...any) (JoinToken, error) {
		return JoinToken{}, fault.New(fault.Invalid, "read a join token: "+why, a...)
	}
	if len(text) > maxJoinToken {
		return wrong("it is longer than %d bytes", maxJoinToken)
	}
	text = strings.TrimSpace(text)
	encoded, ok := strings.CutPrefix(text, joinPrefix)
	switch {
	case text == "":
		return wrong("it is empty")
	case !ok && strings.HasPrefix(text, "keyorch-join-"):
		return wrong("it is of another version of keyorch: use the version that made it")
	case !ok:
		return wrong("it does not begin with %s: it is the one line that keyorch enroll printed", joinPrefix)
	}
	doc, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return wrong("a part of it is missing, or was changed: copy the whole line")
	}
	var t JoinToken
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil || dec.More() {
		return wrong("a part of it is missing, or was changed: copy the whole line")
	}
	if err := t.Valid(); err != nil {
		return JoinToken{}, fault.Wrap(fault.Invalid, err, "read a join token")
	}
	switch {
	case t.Identity.Role == Admin:
		return wrong("nobody joins as %s", Admin)
	case t.Wrapped == "" || t.AppRole.RoleID == "" || !plainPath(t.AppRole.Mount) || t.AppRole.Mount == "":
		return wrong("there is nothing in it to log in with")
	case t.Expires.IsZero():
		return wrong("it does not say until when it is good")
	}
	return t, nil
}
