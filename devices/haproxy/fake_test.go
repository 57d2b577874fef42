package haproxy_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/devices/haproxy"
)

// balancer is a HAProxy as far as its master's socket shows one: rings that are read
// from files when a worker starts.
type balancer struct {
	socket string
	files  []string

	mu       sync.Mutex
	rings    map[string][]string // base64, oldest first
	worker   int
	failed   int
	level    string
	refuse   string // what every push and reload answers instead of being done
	broken   bool   // the configuration: a reload fails
	pushes   int
	reloads  int
	loseNext bool // the next push is done, and not answered
}

// start runs a balancer whose rings are those of the links, and gives a device for
// it.
func start(t *testing.T, fields map[string]any, links ...string) (*balancer, *haproxy.Device) {
	t.Helper()
	dir := t.TempDir()
	b := &balancer{socket: filepath.Join(dir, "m.sock"), rings: map[string][]string{}, worker: 100, level: "admin"}
	parts := map[string]any{}
	for _, link := range links {
		file := filepath.Join(dir, link)
		stranger := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("strange!", 10)))
		write(t, file, stranger, stranger, stranger)
		b.files = append(b.files, file)
		parts[link] = map[string]any{"keyFile": file}
	}
	b.load()
	l, err := net.Listen("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(conn)
		}
	}()
	all := map[string]any{"master": b.socket, "timeout": "5s", "links": parts}
	for name, v := range fields {
		all[name] = v
	}
	d, err := haproxy.New("n1", all)
	if err != nil {
		t.Fatal(err)
	}
	return b, d
}

func write(t *testing.T, file string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// load is a worker that starts.
func (b *balancer) load() {
	b.worker++
	for _, file := range b.files {
		data, _ := os.ReadFile(file)
		b.rings[file] = strings.Fields(string(data))
	}
}

// restart is HAProxy stopped and started.
func (b *balancer) restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.load()
}

func (b *balancer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil {
		_, _ = fmt.Fprint(conn, b.answer(strings.TrimSpace(line)))
	}
}

func (b *balancer) answer(command string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	words := strings.Fields(command)
	switch {
	case strings.HasPrefix(command, "@1 show tls-keys "):
		r, ok := b.rings[words[3]]
		if !ok {
			return "'show tls-keys' unable to locate referenced filename\n\n"
		}
		return fmt.Sprintf("# id secret\n# 0 (%s)\n0.0 %s\n0.1 %s\n0.2 %s\n\n", words[3], r[0], r[1], r[2])
	case strings.HasPrefix(command, "@1 set ssl tls-key "):
		return b.push(words[4], words[5])
	case command == "reload":
		return b.reload()
	case command == "show cli level":
		return b.level + "\n"
	case command == "show proc":
		return fmt.Sprintf("8369 master %d [failed: %d] 0d00h00m01s 2.6\n# workers\n%d worker 0 0d00h00m01s 2.6\n# old workers\n7 worker 1 0d00h00m09s 2.6\n", b.reloads, b.failed, b.worker)
	case command == "@!7 show info":
		return "Name: HAProxy\nStopping: 1\n\n"
	}
	return "Unknown command: '" + command + "'\n"
}

func (b *balancer) push(ring, key string) string {
	if b.refuse != "" {
		return b.refuse
	}
	b.pushes++
	b.rings[ring] = append(b.rings[ring][1:], key)
	if b.loseNext {
		b.loseNext = false
		return ""
	}
	return "TLS ticket key updated!\n\n"
}

func (b *balancer) reload() string {
	if b.refuse != "" {
		return b.refuse
	}
	b.reloads++
	if b.broken {
		b.failed++
		return ""
	}
	b.failed = 0
	b.load()
	return ""
}
