package temporaltls_test

import (
	"context"
	"slices"
	"sync"

	"go.temporal.io/server/common/authorization"
)

// guard lets into the namespace whoever shows one of its API keys, or, when it wants
// none, everybody; and remembers whose certificates were shown. The cloud's does the
// same.
type guard struct {
	mu   sync.Mutex
	keys []string // nil: none is wanted
	seen []string // common names, each once in a row
}

func (g *guard) wants(keys ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = keys
}

func (g *guard) names() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

// AuthInfoRequired implements authorization.ClaimMapperWithAuthInfoRequired.
func (g *guard) AuthInfoRequired() bool { return false }

// GetClaims implements authorization.ClaimMapper.
func (g *guard) GetClaims(info *authorization.AuthInfo) (*authorization.Claims, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	claims := &authorization.Claims{}
	if info.TLSSubject != nil {
		if name := info.TLSSubject.CommonName; len(g.seen) == 0 || g.seen[len(g.seen)-1] != name {
			g.seen = append(g.seen, name)
		}
	}
	if g.keys == nil || slices.ContainsFunc(g.keys, func(k string) bool { return info.AuthToken == "Bearer "+k }) {
		claims.Namespaces = map[string]authorization.Role{"default": authorization.RoleWriter}
	}
	return claims, nil
}

// Authorize implements authorization.Authorizer.
func (g *guard) Authorize(_ context.Context, c *authorization.Claims, target *authorization.CallTarget) (authorization.Result, error) {
	if target.Namespace == "default" && (c == nil || c.Namespaces["default"] == 0) {
		return authorization.Result{Decision: authorization.DecisionDeny}, nil
	}
	return authorization.Result{Decision: authorization.DecisionAllow}, nil
}
