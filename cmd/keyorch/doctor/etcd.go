package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/store"
)

// etcd looks at each endpoint, and then at what etcd as a whole lets this side do.
func (p Patient) etcd(ctx context.Context, me person) []Finding {
	a := about{subject: Etcd}
	if len(p.Etcd.Endpoints) == 0 {
		_, err := store.Open(ctx, p.Etcd)
		a.failed("settings", err)
		return a.found
	}
	if _, err := p.Etcd.Files.Read(p.Now(), "etcd"); err != nil && !p.Etcd.Plain {
		a.skip("connection", "there is no certificate that could be shown: see identity")
		return a.found
	}
	s := p.endpoints(ctx, &a)
	if s == nil {
		return a.found
	}
	defer func() { _ = s.Close() }()
	p.within(ctx, func(ctx context.Context) { users(ctx, &a, s) })
	p.within(ctx, func(ctx context.Context) { rights(ctx, &a, s, p.Etcd.Prefix, me) })
	return append(a.found, p.fleet(ctx, s, me)...)
}

// endpoints asks each endpoint by itself, all at once, and gives a store on those that
// answer; nil when none does.
func (p Patient) endpoints(ctx context.Context, a *about) *store.Store {
	parts := make([]about, len(p.Etcd.Endpoints))
	well := make([]bool, len(parts))
	var over sync.WaitGroup
	for i, e := range p.Etcd.Endpoints {
		over.Go(func() {
			parts[i].subject = Etcd
			p.within(ctx, func(ctx context.Context) { well[i] = p.endpoint(ctx, &parts[i], e) })
		})
	}
	over.Wait()
	c := p.Etcd
	c.Endpoints = nil
	for i, part := range parts {
		a.found = append(a.found, part.found...)
		if well[i] {
			c.Endpoints = append(c.Endpoints, p.Etcd.Endpoints[i])
		}
	}
	if len(c.Endpoints) == 0 {
		return nil
	}
	var s *store.Store
	p.within(ctx, func(ctx context.Context) {
		var err error
		if s, err = store.Open(ctx, c); err != nil {
			a.failed("connection", err)
		}
	})
	return s
}

// endpoint looks at one endpoint, and reports whether it answers.
func (p Patient) endpoint(ctx context.Context, a *about, endpoint string) bool {
	c := p.Etcd
	c.Endpoints, c.DialTimeout = []string{endpoint}, p.Patience*3/4
	s, err := store.Open(ctx, c)
	if err != nil {
		a.failed(endpoint, err)
		return false
	}
	version, err := s.Version(ctx)
	_ = s.Close()
	switch {
	case err != nil:
		a.failed(endpoint, err)
		return false
	case older(version, 3, 5):
		a.warn(endpoint, "etcd "+version+" answers; keyorch is tested with 3.5 and later", "upgrade etcd")
	default:
		a.ok(endpoint, "etcd "+version+" answers")
	}
	theirs, began, ended, err := p.ask(ctx, endpoint)
	if err != nil {
		a.skip(endpoint+" clock", "etcd tells it over HTTP, which it does not speak here: "+err.Error())
		return true
	}
	judgeClock(a, endpoint+" clock", theirs, began, ended)
	return true
}

// ask asks an endpoint over HTTP, which tells its clock. It may have a port of its own
// (etcd's --listen-client-http-urls), and then this one does not speak it.
func (p Patient) ask(ctx context.Context, endpoint string) (theirs, began, ended time.Time, err error) {
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return theirs, began, ended, errors.New("the address is not a URL")
	}
	wallet, err := p.Etcd.Files.Open("etcd")
	if err != nil {
		return theirs, began, ended, err
	}
	conf, err := wallet.ClientTLS(u.Hostname())
	if err != nil {
		return theirs, began, ended, err
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, u.JoinPath("version").String(), nil)
	if err != nil {
		return theirs, began, ended, err
	}
	began = p.Now()
	answer, err := client.Do(request)
	ended = p.Now()
	if err != nil {
		return theirs, began, ended, errors.New("no answer")
	}
	_ = answer.Body.Close()
	if theirs, err = http.ParseTime(answer.Header.Get("Date")); err != nil {
		return theirs, began, ended, errors.New("the answer has no date")
	}
	return theirs, began, ended, nil
}

// older reports whether a version is below major.minor.
func older(version string, major, minor int) bool {
	var x, y int
	if _, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &x, &y); err != nil {
		return false
	}
	return x < major || x == major && y < minor
}

// users looks whether etcd asks everybody who they are.
func users(ctx context.Context, a *about, s *store.Store) {
	switch on, err := s.AuthEnabled(ctx); {
	case err != nil:
		a.failed("users", err)
	case on:
		a.ok("users", "etcd asks everybody who they are: this is "+s.User())
	default:
		a.fail("users", "etcd lets everybody with a certificate read and write everything: authentication is off", "run keyorch bootstrap as the administrator, which turns it on")
	}
}

// rights tries what the role must be able to do, and some of what it must not.
func rights(ctx context.Context, a *about, s *store.Store, prefix string, me person) {
	if !me.known || me.Role == identity.Admin {
		a.skip("rights", "the administrator may do everything")
		return
	}
	needed, lacking, err := s.Lacking(ctx, me.Identity)
	if err != nil {
		a.failed("rights", err)
		return
	}
	var missing, excess []string
	for _, g := range lacking {
		missing = append(missing, g.String())
	}
	for _, g := range store.Forbidden(prefix, me.Identity) {
		if err := s.Try(ctx, g); err == nil {
			excess = append(excess, g.String())
		} else if !fault.Is(err, fault.Refused) {
			a.failed("rights", err)
			return
		}
	}
	judgeRights(a, me, needed, missing, excess)
}

func judgeRights(a *about, me person, granted int, missing, excess []string) {
	if len(missing) > 0 {
		a.fail("rights", fmt.Sprintf("%s may not do all that it has to: %s", me, few(missing)), "have the administrator run keyorch bootstrap with this version, which puts roles right")
	} else {
		a.ok("rights", fmt.Sprintf("all %d that %s needs", granted, me))
	}
	if len(excess) > 0 {
		a.fail("limits", fmt.Sprintf("%s may do what it must not: %s", me, few(excess)), "turn authentication on (keyorch bootstrap), and take other roles from this user: etcdctl user get "+me.CommonName())
	} else {
		a.ok("limits", "what it must not do is denied")
	}
}

// few is the first three of many.
func few(all []string) string {
	if len(all) > 3 {
		return strings.Join(all[:3], "; ") + fmt.Sprintf("; and %d more", len(all)-3)
	}
	return strings.Join(all, "; ")
}
