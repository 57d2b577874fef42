package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Target is where a NETCONF server is, who logs in, and how the two know each
// other.
type Target struct {
	Address  string // host:port
	User     string
	Identity string // the file with the private key
	HostKey  HostKey
}

// HostKey is the host key that the device must show.
type HostKey struct {
	fingerprint string
	algorithms  []string // nil: any
}

// ParseHostKey reads a fingerprint, "SHA256:…", or a line with a public key, as
// ssh-keyscan prints it, with or without the name of the host.
func ParseHostKey(s string) (HostKey, error) {
	s = strings.TrimSpace(s)
	if digest, ok := strings.CutPrefix(s, "SHA256:"); ok {
		if len(digest) != 43 || strings.ContainsAny(digest, " \t=") {
			return HostKey{}, errors.New(`a fingerprint is "SHA256:" and 43 characters, as ssh-keygen -l prints it`)
		}
		return HostKey{fingerprint: s}, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil {
		if _, _, key, _, _, err = ssh.ParseKnownHosts([]byte(s)); err != nil {
			return HostKey{}, errors.New(`it is neither a fingerprint ("SHA256:…") nor a public key ("ssh-ed25519 AAAA…")`)
		}
	}
	h := HostKey{fingerprint: ssh.FingerprintSHA256(key), algorithms: []string{key.Type()}}
	if key.Type() == ssh.KeyAlgoRSA {
		h.algorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return h, nil
}

// check implements ssh.HostKeyCallback.
func (h HostKey) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	if got := ssh.FingerprintSHA256(key); got != h.fingerprint {
		return fmt.Errorf("the device shows the host key %s (%s), not %s as configured: it is another device, it has a new key, "+
			"or it has several (then configure the one shown)", got, key.Type(), h.fingerprint)
	}
	return nil
}

// Dial logs in and opens a session. It returns soon after ctx has ended.
func Dial(ctx context.Context, t Target) (*Session, error) {
	signer, err := identity(t.Identity)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	rw, dead, err := subsystem(conn, t, signer)
	if !stop() || ctx.Err() != nil {
		_ = conn.Close()
		return nil, ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s, err := start(ctx, rw, func() { _ = conn.Close() }, dead)
	if err != nil {
		_ = conn.Close()
	}
	return s, err
}

// subsystem logs in over conn and starts the subsystem netconf. dead is closed
// when the device has ended it.
func subsystem(conn net.Conn, t Target, signer ssh.Signer) (rw io.ReadWriter, dead <-chan struct{}, err error) {
	client, channels, requests, err := ssh.NewClientConn(conn, t.Address, &ssh.ClientConfig{
		User:              t.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   t.HostKey.check,
		HostKeyAlgorithms: t.HostKey.algorithms,
	})
	if err != nil {
		if strings.Contains(err.Error(), "unable to authenticate") {
			return nil, nil, fmt.Errorf("the device does not let user %s in with the key of %s (%s)",
				t.User, t.Identity, ssh.FingerprintSHA256(signer.PublicKey()))
		}
		return nil, nil, err
	}
	go ssh.DiscardRequests(requests)
	go func() {
		for c := range channels {
			_ = c.Reject(ssh.UnknownChannelType, "this is a client")
		}
	}()
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		return nil, nil, fmt.Errorf("open a channel: %w", err)
	}
	over := make(chan struct{})
	go func() {
		ssh.DiscardRequests(requests)
		close(over)
	}()
	go func() { _, _ = io.Copy(io.Discard, channel.Stderr()) }()
	ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"netconf"}))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("start the subsystem netconf: %w", err)
	case !ok:
		return nil, nil, errors.New("the device has no subsystem netconf: enable NETCONF over SSH on it")
	}
	return channel, over, nil
}

// identity reads a private key, which nobody but its owner and group may read.
func identity(file string) (ssh.Signer, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the private key: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o007 != 0 || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the private key %s is open to everybody on this host (mode %#o): chmod 0600 it", file, perm)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the private key: %w", err)
	}
	defer clear(text)
	signer, err := ssh.ParsePrivateKey(text)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		return nil, fmt.Errorf("the private key %s wants a passphrase, which nobody can give here: use a key without one", file)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not a private key: %w", file, fs.ErrInvalid)
	}
	return signer, nil
}
