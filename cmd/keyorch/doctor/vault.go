package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// shortToken is a token's life below which somebody should see to it, when nobody can
// renew it.
const shortToken = time.Hour

// stranger is a KEK that nobody has a right to: no site has such a name.
const stranger = "keyorch-site-keyorch-doctor"

// vault looks at Vault, at the login, and at what Vault lets this side do.
func (p Patient) vault(ctx context.Context, me person) []Finding {
	a := about{subject: Vault}
	if p.CustodyErr != nil {
		if me.known && me.Role == identity.Auditor {
			a.skip("settings", "none are given, and an auditor can do without")
			return a.found
		}
		a.failed("settings", p.CustodyErr)
		return a.found
	}
	c, err := custody.Open(p.Custody)
	if err != nil {
		a.failed("settings", err)
		return a.found
	}
	well := false
	p.within(ctx, func(ctx context.Context) { well = p.server(ctx, &a, c) })
	if !well {
		return a.found
	}
	in := false
	p.within(ctx, func(ctx context.Context) { in = login(ctx, &a, c, me) })
	if in {
		p.within(ctx, func(ctx context.Context) { p.keys(ctx, &a, c, me) })
		p.within(ctx, func(ctx context.Context) { limits(ctx, &a, c, me) })
		p.within(ctx, func(ctx context.Context) { signer(ctx, &a, c, me) })
	}
	return a.found
}

// server looks at Vault itself, and reports whether it answers.
func (p Patient) server(ctx context.Context, a *about, c *custody.Custody) bool {
	began := p.Now()
	h, err := c.Health(ctx)
	if err != nil {
		a.failed(c.Address(), err)
		return false
	}
	if n := p.Custody.Namespace; n != "" && strings.HasPrefix(h.Version, "1.") && !strings.Contains(h.Version, "+ent") {
		a.warn("namespace", fmt.Sprintf("VAULT_NAMESPACE is %s, and this Vault knows no namespaces: it passes over it", n), "unset VAULT_NAMESPACE, or use the address of the Vault that has it")
	}
	as := "answers"
	if h.Standby {
		as = "answers as a standby, which hands requests on"
	}
	a.ok(c.Address(), "Vault "+h.Version+" "+as)
	judgeClock(a, "clock", h.Time, began, p.Now())
	return true
}

// login logs in and looks at the token.
func login(ctx context.Context, a *about, c *custody.Custody, me person) bool {
	if err := c.Login(ctx); err != nil {
		a.failed("login", err)
		return false
	}
	t, err := c.Token(ctx)
	if err != nil {
		a.failed("login", err)
		return false
	}
	judgeToken(a, t)
	if me.known {
		judgePolicies(a, me, t.Policies)
	}
	return true
}

func judgeToken(a *about, t custody.Token) {
	switch {
	case t.Left == 0:
		a.warn("token", "it never ends: whoever copies it has it for good", "log in by certificate, AppRole or Kubernetes (KEYORCH_VAULT_AUTH)")
	case !t.Renewable && t.Left < shortToken:
		a.warn("token", fmt.Sprintf("it ends in %s, and cannot be renewed", span(t.Left)), "have a process that goes on log in by itself (KEYORCH_VAULT_AUTH)")
	default:
		a.ok("token", fmt.Sprintf("good for %s, policies %s", span(t.Left), strings.Join(t.Policies, ", ")))
	}
}

// judgePolicies compares who Vault takes this side for with who etcd does.
func judgePolicies(a *about, me person, policies []string) {
	want := custody.PolicyName(me.Identity)
	others := slices.DeleteFunc(slices.Clone(policies), func(p string) bool {
		return p == want || p == custody.CertificatePolicyName(me.Identity)
	})
	switch {
	case slices.Contains(policies, "root") && me.Role == identity.Admin:
		a.ok("identity", "Vault's own root token: it may do everything")
	case slices.Contains(policies, "root"):
		a.fail("identity", fmt.Sprintf("etcd knows this side as %s, and its token is Vault's own root", me), "give it a token of its own: keyorch enroll, keyorch join")
	case !slices.Contains(policies, want):
		a.fail("identity", fmt.Sprintf("etcd knows this side as %s, and its token has the policies %s, not %s", me, strings.Join(policies, ", "), want),
			"use the certificate and the login of one identity: keyorch enroll, keyorch join")
	case len(others) > 0:
		a.warn("identity", fmt.Sprintf("the token has other policies besides: %s", strings.Join(others, ", ")), "take them from its auth role, unless they are meant to be there")
	default:
		a.ok("identity", "Vault and etcd agree on "+me.CommonName())
	}
}

// trial asks Vault whether something may be done with a key.
type trial func(context.Context, string) (custody.Answer, error)

// part is what a role has to do with keys, in words and as a trial, and what it must
// not do with those that it has no business with.
func part(me person, c *custody.Custody) (what string, must trial, mustNot []trial) {
	switch me.Role {
	case identity.Agent:
		return "open", c.TryOpen, []trial{c.TryOpen, c.TryMint}
	case identity.Worker:
		return "mint under", c.TryMint, []trial{c.TryOpen}
	case identity.Operator, identity.Auditor:
		return "look at", c.TryRead, []trial{c.TryOpen, c.TryMint}
	case identity.Admin:
	}
	return "look at", c.TryRead, []trial{c.TryOpen}
}

// keys tries every key that is needed.
func (p Patient) keys(ctx context.Context, a *about, c *custody.Custody, me person) {
	if !me.known {
		a.skip("keys", "nobody knows which role to look for")
		return
	}
	names, err := p.wanted(ctx, me)
	if err != nil {
		a.skip("keys", "which are needed is not known, since etcd does not say")
		return
	}
	what, must, _ := part(me, c)
	answers := make(map[custody.Answer][]string)
	for _, kek := range names {
		answer, err := must(ctx, kek)
		if err != nil {
			a.failed("keys", err)
			return
		}
		answers[answer] = append(answers[answer], kek)
	}
	judgeKEKs(a, me, what, len(names), answers)
}

// limits tries what must be denied.
func limits(ctx context.Context, a *about, c *custody.Custody, me person) {
	if !me.known || me.Role == identity.Admin { // it can give itself any policy
		return
	}
	_, _, mustNot := part(me, c)
	for _, try := range mustNot {
		switch answer, err := try(ctx, stranger); {
		case err != nil:
			a.failed("limits", err)
			return
		case answer != custody.Denied:
			a.fail("limits", fmt.Sprintf("%s may use keys that it has no business with", me),
				"have the administrator run keyorch bootstrap and keyorch enroll again, and look for other policies on its auth role")
			return
		}
	}
	a.ok("limits", "what it must not do is denied")
}

// judgeKEKs says what came of trying every key.
func judgeKEKs(a *about, me person, what string, all int, answers map[custody.Answer][]string) {
	denied, missing := answers[custody.Denied], answers[custody.Missing]
	if len(denied) > 0 {
		a.fail("keys", fmt.Sprintf("%s may not %s %s", me, what, few(denied)), "have the administrator run keyorch enroll for it again, and an operator keyorch apply")
	}
	if len(missing) > 0 {
		a.fail("keys", "Vault has no key "+few(missing), "run keyorch apply as an operator, which makes the keys of all that is declared")
	}
	switch {
	case len(denied)+len(missing) > 0:
	case all == 0:
		a.ok("keys", "none are needed yet")
	case all == 1:
		a.ok("keys", fmt.Sprintf("the one that is needed is there, to %s", what))
	default:
		a.ok("keys", fmt.Sprintf("all %d that are needed are there, to %s", all, what))
	}
}

// signer looks at the authority that signs certificates.
func signer(ctx context.Context, a *about, c *custody.Custody, me person) {
	_, err := c.Authority(ctx, custody.Paths{})
	switch {
	case err == nil:
		a.ok("authority", "keyorch-pki signs certificates")
	case fault.Is(err, fault.Refused) && me.known && me.Role != identity.Admin:
		what, mend := words(err)
		a.warn("authority", what, mend) // certificates may come from elsewhere
	default:
		a.failed("authority", err)
	}
}
