package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// startTime is how long the API server may take until it is ready. It takes 4 s on
// an idle machine.
const startTime = 2 * time.Minute

// Cluster is an API server that runs.
type Cluster struct {
	URL string
	// CA is the authority that signed its certificate, as PEM.
	CA []byte
	// Admin is the token of somebody who may do everything.
	Admin string

	client *http.Client
	cmd    *exec.Cmd
	stdin  io.Closer
	log    string
	key    *ecdsa.PrivateKey // signs the tokens of accounts
	end    func() error
}

// Start runs the program at binary on free ports of this host, with all that it
// writes in dir. Whoever calls it calls Stop.
func Start(ctx context.Context, binary, dir string) (*Cluster, error) {
	admin := make([]byte, 16)
	if _, err := rand.Read(admin); err != nil {
		return nil, err
	}
	c := &Cluster{Admin: hex.EncodeToString(admin), log: filepath.Join(dir, "servers.log")}
	if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(c.Admin+",admin,admin,system:masters\n"), 0o600); err != nil {
		return nil, err
	}
	var err error
	if c.key, err = writeSigningKey(filepath.Join(dir, "sa.key")); err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	c.URL = "https://127.0.0.1:" + port
	if err := c.run(binary, dir, port); err != nil {
		return nil, err
	}
	if err := c.untilReady(ctx, filepath.Join(dir, "certs", "apiserver.crt")); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) run(binary, dir, port string) error {
	log, err := os.Create(c.log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	key := filepath.Join(dir, "sa.key")
	c.cmd = exec.Command(binary, filepath.Join(dir, "etcd"),
		"--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+filepath.Join(dir, "certs"),
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--authorization-mode=RBAC", "--token-auth-file="+filepath.Join(dir, "tokens.csv"),
	)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.stdin, err = c.cmd.StdinPipe()
	if err != nil {
		return err
	}
	c.end = sync.OnceValue(c.stop)
	return c.cmd.Start()
}

// untilReady waits for the server's certificate, which it makes itself, and then
// for its word.
func (c *Cluster) untilReady(ctx context.Context, certificate string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if c.client == nil {
			if pem, err := os.ReadFile(certificate); err == nil {
				if roots := x509.NewCertPool(); roots.AppendCertsFromPEM(pem) {
					c.CA, c.client = pem, client(roots)
				}
			}
		} else if c.Do(ctx, c.Admin, http.MethodGet, "/readyz", nil, nil) == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready: %w\n%s", ctx.Err(), c.Log())
		}
	}
}

// Log is the end of what the servers said.
func (c *Cluster) Log() string {
	text, _ := os.ReadFile(c.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Stop ends the servers: the program stops the API server before its etcd. Once
// they have ended it says the same again.
func (c *Cluster) Stop() error { return c.end() }

func (c *Cluster) stop() error {
	_ = c.stdin.Close()
	kill := time.AfterFunc(time.Minute, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	return c.cmd.Wait()
}

// Kubeconfig lets the holder of token in, with namespace for those who name none.
func (c *Cluster) Kubeconfig(token, namespace string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: %q}}]
current-context: x
`, c.URL, base64PEM(c.CA), token, namespace)
}

func writeSigningKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func freePort(ctx context.Context) (string, error) {
	var conf net.ListenConfig
	l, err := conf.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}
