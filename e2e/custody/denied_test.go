package custody_test

import (
	"testing"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
)

const denied = "the token's policy does not allow it"

// house is a Vault with everybody on it, and a link from dc1 to dc2.
type house struct {
	*server
	admin                                              custody.Administration
	worker, operator, auditor, one, two, sender, third *custody.Custody
	key                                                keychain.Wrapped
}

const theLink = keychain.LinkID("dc1-dc2")

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{server: startVault(t)}
	h.admin = h.bootstrapped(t)
	h.worker = h.as(t, h.admin, identity.Identity{Role: identity.Worker})
	h.operator = h.as(t, h.admin, identity.Identity{Role: identity.Operator, Person: "alice"})
	h.auditor = h.as(t, h.admin, identity.Identity{Role: identity.Auditor})
	for _, k := range []string{kek, "keyorch-sites-dc2.dc3", "keyorch-sites-dc3.dc4"} {
		must(t, h.operator.EnsureKEK(t.Context(), k))
	}
	h.one = h.as(t, h.admin, identity.OfSite("dc1"), kek)
	h.two = h.as(t, h.admin, identity.OfSite("dc2"), kek, "keyorch-sites-dc2.dc3")
	h.sender = h.as(t, h.admin, identity.OfSite("dc3"), "keyorch-sites-dc2.dc3") // another sender into dc2
	h.third = h.as(t, h.admin, identity.OfSite("dc4"), "keyorch-sites-dc3.dc4")
	var err error
	h.key, err = h.worker.Mint(t.Context(), theLink, 4, []keychain.SiteID{"dc1", "dc2"})
	must(t, err)
	for name, agent := range map[string]*custody.Custody{"dc1": h.one, "dc2": h.two} {
		if _, err := agent.Unwrap(t.Context(), theLink, 4, h.key); err != nil {
			t.Fatalf("the agent of %s cannot open its own key: %v", name, err)
		}
	}
	return h
}

func (h *house) wantUnopened(t *testing.T, c *custody.Custody) {
	t.Helper()
	_, err := c.Unwrap(t.Context(), theLink, 4, h.key)
	want(t, err, fault.Refused, denied)
}

func TestDeniedAgentOfAnotherSite(t *testing.T) {
	h := newHouse(t)
	h.wantUnopened(t, h.third)
	// Teeth: with the KEK in its policy it opens it.
	must(t, h.operator.WritePolicy(t.Context(), "keyorch-agent.dc4", custody.AgentPolicy("", []string{kek})))
	_, err := h.third.Unwrap(t.Context(), theLink, 4, h.key)
	must(t, err)
}

func TestDeniedAnotherSenderIntoTheSameSite(t *testing.T) {
	h := newHouse(t)
	h.wantUnopened(t, h.sender)
	// Teeth: under a KEK of the receiving site alone, as it was once, nothing would
	// tell the senders apart. That KEK is in nobody's policy any more.
	must(t, h.operator.EnsureKEK(t.Context(), "keyorch-site-dc2"))
	former, err := h.worker.Mint(t.Context(), theLink, 5, []keychain.SiteID{"dc2"})
	must(t, err)
	_, err = h.sender.Unwrap(t.Context(), theLink, 5, former)
	want(t, err, fault.Refused, denied)
}

func TestDeniedWorkerUnwraps(t *testing.T) {
	h := newHouse(t)
	h.wantUnopened(t, h.worker)
	want(t, h.worker.EnsureKEK(t.Context(), "keyorch-site-x"), fault.Refused, denied)
	_, err := h.worker.RotateKEK(t.Context(), kek)
	want(t, err, fault.Refused, denied)
	want(t, h.worker.RetireKEK(t.Context(), kek, 1), fault.Refused, denied)
	want(t, h.worker.WritePolicy(t.Context(), "keyorch-worker", custody.AdminPolicy(custody.Paths{})), fault.Refused, denied)
}

func TestDeniedOperatorUnwrapsOrMints(t *testing.T) {
	h := newHouse(t)
	h.wantUnopened(t, h.operator)
	_, err := h.operator.Mint(t.Context(), theLink, 5, []keychain.SiteID{"dc1", "dc2"})
	want(t, err, fault.Refused, denied)
	_, err = h.operator.Rewrap(t.Context(), kek, []custody.Sealed{{Link: theLink, Epoch: 4, Wrapped: h.key}})
	want(t, err, fault.Refused, denied)
	want(t, h.operator.WritePolicy(t.Context(), "keyorch-operator", custody.AdminPolicy(custody.Paths{})), fault.Refused, denied)
}

// TestDeniedOperatorTakesAKEKOut has the operator try to make a KEK exportable.
func TestDeniedOperatorTakesAKEKOut(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		path string
		in   map[string]any
	}{
		{"transit/keys/" + kek + "/config", map[string]any{"exportable": true}},
		{"transit/keys/" + kek + "/config", map[string]any{"deletion_allowed": true}},
		{"transit/keys/" + kek + "/config", map[string]any{"allow_plaintext_backup": true}},
		{"transit/keys/keyorch-site-new", map[string]any{"type": "aes256-gcm96", "derived": true, "exportable": true}},
	} {
		if code := h.raw(t, h.tokenOf(t, h.admin, identity.Identity{Role: identity.Operator, Person: "bob"}), "PUT", c.path, c.in); code != 403 {
			t.Errorf("%s with %v: status %d, want 403", c.path, c.in, code)
		}
	}
}

// TestDeniedSigningTheTrail: workers sign the audit trail, and nobody else; nobody changes its
// key.
func TestDeniedSigningTheTrail(t *testing.T) {
	h := newHouse(t)
	if _, _, err := h.worker.SignAudit(t.Context(), []byte("x")); err != nil {
		t.Fatalf("the worker cannot sign: %v", err)
	}
	for _, c := range []*custody.Custody{h.operator, h.auditor} {
		_, _, err := c.SignAudit(t.Context(), []byte("x"))
		want(t, err, fault.Refused, denied)
		if keys, err := c.AuditKeys(t.Context()); err != nil || len(keys) != 1 {
			t.Errorf("who reads the trail cannot read its key: %v", err)
		}
	}
	for _, role := range []identity.Role{identity.Operator, identity.Worker, identity.Auditor} {
		token := h.tokenOf(t, h.admin, identity.Identity{Role: role, Person: "eve"})
		for path, in := range map[string]map[string]any{
			"transit/keys/keyorch-audit/rotate": {}, "transit/keys/keyorch-audit/config": {"min_encryption_version": 1},
			"transit/keys/keyorch-audit/config2": {"exportable": true}, "transit/keys/keyorch-audit": {"type": "ed25519"},
		} {
			if code := h.raw(t, token, "PUT", path, in); code != 403 {
				t.Errorf("%s: %s: status %d, want 403", role, path, code)
			}
		}
	}
}

func TestDeniedAuditorDoesAnything(t *testing.T) {
	h := newHouse(t)
	h.wantUnopened(t, h.auditor)
	_, err := h.auditor.Mint(t.Context(), theLink, 5, []keychain.SiteID{"dc1", "dc2"})
	want(t, err, fault.Refused, denied)
	want(t, h.auditor.EnsureKEK(t.Context(), "keyorch-site-x"), fault.Refused, denied)
	_, err = h.auditor.RotateKEK(t.Context(), kek)
	want(t, err, fault.Refused, denied)
	want(t, h.auditor.WritePolicy(t.Context(), "keyorch-agent.dc1", ""), fault.Refused, denied)
	_, err = custody.Administration{Vault: h.auditor}.Remove(t.Context(), identity.OfSite("dc1"))
	want(t, err, fault.Refused, denied)
	if _, err := h.auditor.KEKState(t.Context(), kek); err != nil {
		t.Errorf("the auditor cannot read: %v", err)
	}
}

func TestDeniedAgentMints(t *testing.T) {
	h := newHouse(t)
	_, err := h.one.Mint(t.Context(), theLink, 5, []keychain.SiteID{"dc1", "dc2"})
	want(t, err, fault.Refused, denied)
	_, err = h.one.Rewrap(t.Context(), kek, []custody.Sealed{{Link: theLink, Epoch: 4, Wrapped: h.key}})
	want(t, err, fault.Refused, denied)
}

func TestDeniedStolenKeyForAnotherEpochOrLink(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		link  keychain.LinkID
		epoch keychain.Epoch
	}{{theLink, 5}, {theLink, 3}, {"dc2-dc1", 4}} {
		_, err := h.two.Unwrap(t.Context(), c.link, c.epoch, h.key)
		want(t, err, fault.Mismatch, "not of this link and epoch")
	}
	// Nor does it open under a KEK that the thief may use.
	_, err := h.sender.Unwrap(t.Context(), theLink, 4, keychain.Wrapped{KEK: "keyorch-sites-dc2.dc3", Ciphertext: h.key.Ciphertext})
	want(t, err, fault.Mismatch, "not of this link and epoch")
}

func TestDeniedAnotherOnesCertificate(t *testing.T) {
	h := newHouse(t)
	other, err := identity.NewRequest(identity.OfSite("dc2"))
	must(t, err)
	_, err = h.one.SignCSR(t.Context(), "keyorch-pki/sign/keyorch-agent.dc2", other.CSR())
	want(t, err, fault.Refused, denied)
	// Nor may it have another name signed by its own role.
	_, err = h.one.SignCSR(t.Context(), "keyorch-pki/sign/keyorch-agent.dc1", other.CSR())
	want(t, err, fault.Invalid, "does not allow that name")
	root, err := identity.NewRequest(identity.Identity{Role: identity.Admin})
	must(t, err)
	_, err = h.operator.SignCSR(t.Context(), "keyorch-pki/sign/root", root.CSR())
	want(t, err, fault.Refused, denied)
}

func TestDeniedJoinTokenUsedTwice(t *testing.T) {
	h := newHouse(t)
	in := h.invite(t, h.admin, identity.OfSite("dc5"))
	_, _, err := custody.Join(t.Context(), h.config(custody.Config{}), identity.OfSite("dc5"), in)
	must(t, err)
	_, _, err = custody.Join(t.Context(), h.config(custody.Config{}), identity.OfSite("dc5"), in)
	want(t, err, fault.Refused, "the invitation was used already, or has expired")
}

func TestDeniedJoinTokenThatExpired(t *testing.T) {
	h := newHouse(t)
	id := identity.OfSite("dc5")
	_, err := h.admin.Enrol(t.Context(), custody.Enrolment{Identity: id, Auth: identity.ByCertificate})
	must(t, err)
	in, err := h.admin.Invite(t.Context(), id, time.Second)
	must(t, err)
	time.Sleep(time.Until(in.Expires) + 200*time.Millisecond) // Vault's own clock, and no signal
	_, _, err = custody.Join(t.Context(), h.config(custody.Config{}), id, in)
	want(t, err, fault.Refused, "has expired")
}

func TestDeniedSecretIDUsedTwice(t *testing.T) {
	h := newHouse(t)
	id := identity.OfSite("dc5")
	_, err := h.admin.Enrol(t.Context(), custody.Enrolment{Identity: id, Auth: identity.ByCertificate})
	must(t, err)
	in, err := h.admin.Invite(t.Context(), id, time.Minute)
	must(t, err)
	joined, secretID, err := custody.Join(t.Context(), h.config(custody.Config{}), id, in)
	must(t, err)
	again := h.open(t, custody.Config{Login: custody.Login{Method: identity.ByAppRole, RoleID: in.RoleID, SecretID: secretID}})
	want(t, again.Login(t.Context()), fault.Refused, "wrong, used up or expired")
	// What it joined with opens no key either: it gets a certificate and nothing else.
	_, err = joined.Unwrap(t.Context(), theLink, 4, h.key)
	want(t, err, fault.Refused, denied)
}

func TestDeniedRevokedAgent(t *testing.T) {
	h := newHouse(t)
	// The policy alone: rights end at once, while the token lives.
	root := h.root(t)
	must(t, root.WritePolicy(t.Context(), "keyorch-agent.dc1", custody.AgentPolicy("", nil)))
	h.wantUnopened(t, h.one)
	dir := h.certified(t, identity.OfSite("dc2"))
	byCert := h.open(t, custody.Config{ClientCert: dir.Cert(), ClientKey: dir.Key(), Login: custody.Login{Method: identity.ByCertificate, Role: "keyorch-agent.dc2"}})
	must(t, byCert.Login(t.Context()))
	steps, err := h.admin.Remove(t.Context(), identity.OfSite("dc2"))
	must(t, err)
	if last := steps[len(steps)-1]; last.Action != custody.Removed {
		t.Errorf("its live tokens: %v", last)
	}
	for name, c := range map[string]*custody.Custody{"approle": h.two, "cert": byCert} {
		_, err := c.Unwrap(t.Context(), theLink, 4, h.key)
		want(t, err, fault.Refused, "the token has ended")
		t.Log(name, err)
		want(t, c.Login(t.Context()), fault.Refused, "")
	}
	// The one enrolled after it has another name; the old certificate does not become it.
	next := identity.Identity{Role: identity.Agent, Site: "dc2", Generation: 1}
	_, err = h.admin.Enrol(t.Context(), custody.Enrolment{Identity: next, Auth: identity.ByCertificate, KEKs: []string{kek}})
	must(t, err)
	for _, role := range []string{"", next.CommonName()} {
		old := h.open(t, custody.Config{ClientCert: dir.Cert(), ClientKey: dir.Key(), Login: custody.Login{Method: identity.ByCertificate, Role: role}})
		want(t, old.Login(t.Context()), fault.Refused, "the certificate is not known to the role")
	}
}

// certified enrols somebody by certificate, who has joined.
func (h *house) certified(t *testing.T, id identity.Identity) identity.Directory {
	t.Helper()
	_, err := h.admin.Enrol(t.Context(), custody.Enrolment{Identity: id, Auth: identity.ByCertificate, KEKs: []string{kek}})
	must(t, err)
	in, err := h.admin.Invite(t.Context(), id, time.Minute)
	must(t, err)
	joining, _, err := custody.Join(t.Context(), h.config(custody.Config{}), id, in)
	must(t, err)
	return h.sign(t, joining, id)
}

func TestDeniedKeyFromBeforeTheKEKWasRotated(t *testing.T) {
	h := newHouse(t)
	stolen := h.key
	state, err := h.operator.RotateKEK(t.Context(), kek)
	must(t, err)
	anew, err := h.worker.Rewrap(t.Context(), kek, []custody.Sealed{{Link: theLink, Epoch: 4, Wrapped: stolen}})
	must(t, err)
	if custody.Version(stolen) != 1 || custody.Version(anew[0]) != 2 || state.Latest != 2 {
		t.Fatalf("versions %d and %d, the KEK's is %d", custody.Version(stolen), custody.Version(anew[0]), state.Latest)
	}
	before, err := h.two.Unwrap(t.Context(), theLink, 4, stolen) // still, until it is retired
	must(t, err)
	must(t, h.operator.RetireKEK(t.Context(), kek, state.Latest))
	_, err = h.two.Unwrap(t.Context(), theLink, 4, stolen)
	want(t, err, fault.Refused, "under version 1 of "+kek+", which is retired")
	_, err = h.worker.Rewrap(t.Context(), kek, []custody.Sealed{{Link: theLink, Epoch: 4, Wrapped: stolen}})
	want(t, err, fault.Refused, "which is retired")
	after, err := h.two.Unwrap(t.Context(), theLink, 4, anew[0])
	must(t, err)
	if !before.Equal(after) {
		t.Error("wrapped anew, it is another key")
	}
	// The next rotation destroys it for good: not even the operator takes that back.
	_, err = h.operator.RotateKEK(t.Context(), kek)
	must(t, err)
	if err := h.operator.RetireKEK(t.Context(), kek, 1); err == nil {
		t.Error("a version that was destroyed can be used again")
	}
	// Another link's or epoch's key is not wrapped anew as this one's.
	_, err = h.worker.Rewrap(t.Context(), kek, []custody.Sealed{{Link: theLink, Epoch: 5, Wrapped: anew[0]}})
	want(t, err, fault.Mismatch, "not of this link and epoch")
}
