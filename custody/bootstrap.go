package custody

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// authorityLife is how long the root that Vault generates is valid: what it signs
// never lives longer.
const authorityLife = 10 * 365 * 24 * time.Hour

// Kubernetes is the cluster whose service accounts log in.
type Kubernetes struct {
	Host string // https://HOST:PORT of the API server, as Vault reaches it
	CA   string // its authorities, in PEM
	// Reviewer is the token that Vault shows the API server with a TokenReview; empty:
	// its own service account's, or that of who logs in.
	Reviewer identity.Credential
}

// Bootstrap makes an empty Vault ready: engines, authority, auth methods, the key of
// the audit trail and the policies of those who are not agents. An authority that is there is kept. Errors:
// Refused (the token may not, or something is there that is not keyorch's),
// Unavailable; the steps that were done come with it.
func (a Administration) Bootstrap(ctx context.Context, cluster *Kubernetes) ([]Step, error) {
	p := a.Paths.Whole()
	mount := func(path, engine string) func() (Step, error) {
		return func() (Step, error) { return a.mount(ctx, path, engine) }
	}
	steps, err := all(
		mount(p.Transit, "transit"), mount(p.PKI, "pki"),
		func() (Step, error) { return a.authority(ctx) },
	)
	if err != nil {
		return steps, err
	}
	for _, m := range []struct{ path, kind string }{{p.AppRole, "approle"}, {p.Cert, "cert"}, {p.Kubernetes, "kubernetes"}} {
		step, err := a.enable(ctx, m.path, m.kind)
		if err != nil {
			return steps, err
		}
		steps = append(steps, step)
	}
	things := []thing{
		policyThing(adminPolicy, AdminPolicy(p)),
		policyThing(string(identity.Worker), WorkerPolicy(p.Transit)),
		policyThing(string(identity.Operator), OperatorPolicy(p.Transit)),
		policyThing(string(identity.Auditor), AuditorPolicy(p.Transit)),
	}
	if cluster != nil {
		things = append(things, cluster.config(p))
	}
	more, err := a.seeAll(ctx, things...)
	if steps = append(steps, more...); err != nil {
		return steps, err
	}
	key := auditKey(p)
	if a.Dry && steps[0].Action == Created { // there is no engine that could be asked
		return append(steps, Step{What: key.what, Action: Created, Dry: true}), nil
	}
	last, err := a.seeAll(ctx, key)
	return append(steps, last...), err
}

func (k Kubernetes) config(p Paths) thing {
	t := thing{
		what: "configuration of auth/" + p.Kubernetes, path: "auth/" + p.Kubernetes + "/config",
		want: map[string]any{"kubernetes_host": k.Host, "kubernetes_ca_cert": k.CA},
		bad:  fault.New(fault.Invalid, "configure auth/%s of vault: it needs the address of the API server, and its authorities in PEM unless vault runs in the cluster", p.Kubernetes),
	}
	if k.Reviewer != "" {
		t.want["token_reviewer_jwt"], t.unread = string(k.Reviewer), []string{"token_reviewer_jwt"}
	}
	return t
}

// mounted is what sys/mounts and sys/auth say of one path.
type mountedAs struct {
	Type   string `json:"type"`
	Config struct {
		Max int64 `json:"max_lease_ttl"`
	} `json:"config"`
}

// mount has a secrets engine at a path.
func (a Administration) mount(ctx context.Context, path, engine string) (Step, error) {
	step := Step{What: "secrets engine " + engine + " at " + path, Action: Existed, Dry: a.Dry}
	var there map[string]mountedAs
	if err := a.Vault.read(ctx, call{op: "read", path: "sys/mounts", what: "reading sys/mounts"}, &there); err != nil {
		return step, err
	}
	is, ok := there[path+"/"]
	want := map[string]any{"type": engine}
	long := int64(authorityLife / time.Second)
	if engine == "pki" {
		want["config"] = map[string]any{"max_lease_ttl": long}
	}
	switch {
	case !ok:
		if step.Action = Created; a.Dry {
			return step, nil
		}
		return step, a.Vault.write(ctx, call{op: "write", path: "sys/mounts/" + path, what: "mounting " + engine + " at " + path}, want, nil)
	case is.Type != engine:
		return step, fault.New(fault.Refused, "mount %s at %s of vault: there is an engine of type %s: use another mount", engine, path, is.Type)
	}
	return step, nil
}

// enable has an auth method at a path.
func (a Administration) enable(ctx context.Context, path, kind string) (Step, error) {
	step := Step{What: "auth method " + kind + " at " + path, Action: Existed, Dry: a.Dry}
	var there map[string]mountedAs
	if err := a.Vault.read(ctx, call{op: "read", path: "sys/auth", what: "reading sys/auth"}, &there); err != nil {
		return step, err
	}
	switch is, ok := there[path+"/"]; {
	case !ok:
		if step.Action = Created; a.Dry {
			return step, nil
		}
		return step, a.Vault.write(ctx, call{op: "write", path: "sys/auth/" + path, what: "enabling " + kind + " at " + path}, map[string]any{"type": kind}, nil)
	case is.Type != kind:
		return step, fault.New(fault.Refused, "enable %s at auth/%s of vault: there is a method of type %s: use another mount", kind, path, is.Type)
	}
	return step, nil
}

// authority has somebody who signs at the PKI mount: who is there already, or a new
// root whose key never leaves Vault.
func (a Administration) authority(ctx context.Context) (Step, error) {
	p := a.Paths.Whole()
	step := Step{What: "certificate authority at " + p.PKI, Action: Existed, Dry: a.Dry}
	_, err := a.Vault.Authority(ctx, p)
	switch {
	case err == nil:
		return step, nil
	case !fault.Is(err, fault.Refused):
		return step, err
	}
	if step.Action = Created; a.Dry {
		return step, nil
	}
	path := p.PKI + "/root/generate/internal"
	return step, a.Vault.write(ctx, call{op: "write", path: path, what: "generating an authority at " + p.PKI}, map[string]any{
		"common_name": "keyorch", "issuer_name": "keyorch", "key_type": "ec", "key_bits": 256,
		"ttl": int64(authorityLife / time.Second), "max_path_length": 0, "exclude_cn_from_sans": true,
	}, nil)
}
