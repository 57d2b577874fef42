package custody

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/keyorch/keyorch/fault"
)

// AuditKey is the key in Transit that the ends of the audit trail are signed with. It
// never leaves Vault, workers may sign with it, and nobody else.
const AuditKey = "keyorch-audit"

// auditKeyType is checked offline by anybody, and fast: a trail has many checkpoints.
const auditKeyType = "ed25519"

// SignAudit signs a statement with the newest version of AuditKey, and says which that is.
// Errors: Refused (the token may not, or there is no key), Unavailable.
func (c *Custody) SignAudit(ctx context.Context, statement []byte) (version int, signature []byte, err error) {
	var out struct {
		Signature string `json:"signature"`
	}
	err = c.write(ctx, call{op: "sign", path: c.mount + "/sign/" + AuditKey, what: "sign with " + AuditKey, kek: AuditKey},
		map[string]any{"input": base64.StdEncoding.EncodeToString(statement)}, &out)
	if errors.Is(err, errNoKEK) {
		return 0, nil, fault.New(fault.Refused, "sign with %s: vault has no key of that name: have the administrator run keyorch bootstrap", AuditKey)
	}
	if err != nil {
		return 0, nil, err
	}
	rest, ok := strings.CutPrefix(out.Signature, "vault:v")
	number, text, cut := strings.Cut(rest, ":")
	version, bad := strconv.Atoi(number)
	signature, garbled := base64.StdEncoding.DecodeString(text)
	if !ok || !cut || bad != nil || garbled != nil || len(signature) != ed25519.SignatureSize {
		return 0, nil, c.garbled()
	}
	return version, signature, nil
}

// AuditKeys are the public keys of AuditKey, by their versions. Errors: Refused (the token may
// not, there is no key, or it is of another type), Unavailable.
func (c *Custody) AuditKeys(ctx context.Context) (map[int]ed25519.PublicKey, error) {
	var out struct {
		Type string `json:"type"`
		Keys map[string]struct {
			PublicKey string `json:"public_key"`
		} `json:"keys"`
	}
	absent := fault.New(fault.Refused, "read %s: vault has no key of that name: have the administrator run keyorch bootstrap", AuditKey)
	if err := c.read(ctx, call{op: "read", path: c.mount + "/keys/" + AuditKey, what: "read " + AuditKey, absent: absent}, &out); err != nil {
		return nil, err
	}
	if out.Type != auditKeyType {
		return nil, fault.New(fault.Refused, "read %s: it is of type %.40q, and must be %s: somebody else made it", AuditKey, out.Type, auditKeyType)
	}
	keys := make(map[int]ed25519.PublicKey, len(out.Keys))
	for number, k := range out.Keys {
		version, bad := strconv.Atoi(number)
		key, garbled := base64.StdEncoding.DecodeString(k.PublicKey)
		if bad != nil || garbled != nil || len(key) != ed25519.PublicKeySize {
			return nil, c.garbled()
		}
		keys[version] = key
	}
	return keys, nil
}

// auditKey is the key as bootstrap makes it.
func auditKey(p Paths) thing {
	return thing{
		what: "key " + AuditKey, path: p.Transit + "/keys/" + AuditKey,
		want: map[string]any{"type": auditKeyType, "exportable": false, "allow_plaintext_backup": false},
	}
}

// makingAuditKey is the rule of who makes it: of this type, and never to be taken out.
func makingAuditKey(mount string) string {
	return limited(mounted(mount)+"/keys/"+AuditKey, map[string]string{
		"type": fmt.Sprintf("[%q]", auditKeyType), "exportable": "[false]", "allow_plaintext_backup": "[false]",
	}, "create", "read", "update")
}

// readingAuditKey is the rule of who may read its public side, and neither change nor rotate it.
func readingAuditKey(mount string) string {
	return rule(mounted(mount)+"/keys/"+AuditKey, "read") + rule(mounted(mount)+"/keys/"+AuditKey+"/*", "deny")
}
