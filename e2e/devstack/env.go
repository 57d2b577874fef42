package devstack

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/keyorch/keyorch/keychain"
)

// Env is the environment of one identity, Operator, Worker, Auditor, Root or
// AgentIdentity(site), as KEY=VALUE. An agent gets no way to Temporal: it has no
// business there. Any other identity is Invalid.
func (s *Stack) Env(ctx context.Context, identity string) ([]string, error) {
	etcd, err := s.EtcdAs(ctx, identity)
	if err != nil {
		return nil, err
	}
	vault, err := s.VaultAs(ctx, identity)
	if err != nil {
		return nil, err
	}
	env := []string{"ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=" + s.EtcdEndpoint, "VAULT_ADDR=" + s.VaultAddress}
	for _, v := range []struct{ name, value string }{
		{"ETCDCTL_CACERT", etcd.Files.CA}, {"ETCDCTL_CERT", etcd.Files.Cert}, {"ETCDCTL_KEY", etcd.Files.Key},
		{"VAULT_CACERT", vault.CACert}, {"VAULT_TOKEN", vault.Token},
		{"VAULT_CLIENT_CERT", vault.ClientCert}, {"VAULT_CLIENT_KEY", vault.ClientKey},
		{"KEYORCH_VAULT_AUTH", string(vault.Login.Method)}, {"KEYORCH_VAULT_ROLE", vault.Login.Role},
	} {
		if v.value != "" {
			env = append(env, v.name+"="+v.value)
		}
	}
	if !strings.HasPrefix(identity, agentIdentity) {
		return append(env, "TEMPORAL_ADDRESS="+s.TemporalAddress, "TEMPORAL_NAMESPACE="+s.TemporalNamespace), nil
	}
	if s.simNetwork != "" {
		env = append(env, "KEYORCH_SIM="+s.simNetwork)
	}
	return env, nil
}

// WriteEnv writes the environments as shell lines into the data directory, one
// file for each identity, readable by their owner only: env.operator, and env
// with the same content, env.worker, env.auditor, env.root, and env.agent.SITE for
// each of sites.
func (s *Stack) WriteEnv(ctx context.Context, sites []keychain.SiteID) error {
	files := map[string]string{"env": Operator}
	for _, identity := range []string{Operator, Worker, Auditor, Root} {
		files["env."+identity] = identity
	}
	for _, site := range sites {
		files["env."+AgentIdentity(site)] = AgentIdentity(site)
	}
	for name, identity := range files {
		if err := s.writeEnv(ctx, name, identity); err != nil {
			return err
		}
	}
	return nil
}

// WriteRootEnv writes env.root alone, which is all that there is with Options.Empty.
func (s *Stack) WriteRootEnv(ctx context.Context) error { return s.writeEnv(ctx, "env."+Root, Root) }

func (s *Stack) writeEnv(ctx context.Context, name, identity string) error {
	env, err := s.Env(ctx, identity)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(s.Data, name), shellLines(env))
}

func shellLines(env []string) []byte {
	var lines strings.Builder
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		lines.WriteString("export " + key + "=" + quote(value) + "\n")
	}
	return []byte(lines.String())
}

// quote makes one shell word of s, as it is if it holds nothing special.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("_-.:/,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
