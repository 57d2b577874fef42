package devstack

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/keyorch/keyorch/fault"
)

const loopback = "127.0.0.1"

// Ports are the TCP ports of the stack, all on 127.0.0.1. In [Options] a zero
// port means: the one used before in this directory, else a free one.
type Ports struct {
	Etcd             int `json:"etcd"`
	EtcdHTTP         int `json:"etcd_http"`
	EtcdPeer         int `json:"etcd_peer"`
	Vault            int `json:"vault"`
	Temporal         int `json:"temporal"`
	TemporalHistory  int `json:"temporal_history"`
	TemporalMatching int `json:"temporal_matching"`
	TemporalWorker   int `json:"temporal_worker"`
	TemporalUI       int `json:"temporal_ui"`
}

// namedPort is one port with the word that messages use for it.
type namedPort struct {
	name string
	port *int
}

// all lists the ports in a fixed order.
func (p *Ports) all() []namedPort {
	return []namedPort{
		{"etcd", &p.Etcd},
		{"etcd http", &p.EtcdHTTP},
		{"etcd peer", &p.EtcdPeer},
		{"vault", &p.Vault},
		{"temporal", &p.Temporal},
		{"temporal history", &p.TemporalHistory},
		{"temporal matching", &p.TemporalMatching},
		{"temporal worker", &p.TemporalWorker},
		{"temporal ui", &p.TemporalUI},
	}
}

// settlePorts decides the ports of the directory and keeps them in ports.json:
// what the caller asks for, then what was used before, then free ones. A port
// asked for or used before that is taken now is Unavailable, with its holder.
func settlePorts(dir string, want Ports) (Ports, error) {
	path := filepath.Join(dir, "ports.json")
	var kept Ports
	if err := readJSON(path, &kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Ports{}, fault.Wrap(fault.Invalid, err, "read ports")
	}
	old := kept.all()
	used := make(map[int]string)
	for i, p := range want.all() {
		if *p.port == 0 {
			*p.port = *old[i].port
		}
		if *p.port == 0 {
			continue
		}
		if twin, ok := used[*p.port]; ok {
			return Ports{}, fault.New(fault.Invalid, "choose ports: %s and %s both want port %d", twin, p.name, *p.port)
		}
		used[*p.port] = p.name
		if err := portFree(*p.port); err != nil {
			return Ports{}, portTaken(p.name, *p.port, path, err)
		}
	}
	for _, p := range want.all() {
		if *p.port != 0 {
			continue
		}
		port, err := pickPort(used)
		if err != nil {
			return Ports{}, err
		}
		*p.port, used[port] = port, p.name
	}
	if want == kept {
		return want, nil
	}
	return want, writeJSON(path, want)
}

// pickPort finds a free port below the range from which systems take the ports
// of outgoing connections, so that it is still free after a restart.
func pickPort(used map[int]string) (int, error) {
	const first, last, tries = 20000, 32767, 200
	var err error
	for range tries {
		port := first + rand.IntN(last-first)
		if _, ok := used[port]; ok {
			continue
		}
		if err = portFree(port); err == nil {
			return port, nil
		}
	}
	return 0, fault.New(fault.Unavailable, "find free port on %s: %w", loopback, err)
}

func portFree(port int) error {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return err
	}
	return l.Close()
}

func portTaken(name string, port int, kept string, cause error) error {
	who := "another program has it"
	if holder := portHolder(port); holder != "" {
		who = holder + " has it"
	}
	return fault.New(fault.Unavailable, "listen for %s on %s: %s; stop it, or remove %s to get other ports: %w",
		name, address(port), who, kept, cause)
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

func readJSON(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write %s", path)
	}
	return writeFile(path, append(raw, '\n'))
}

// writeFile replaces a file in one step, readable by its owner only, and has it
// on disk when it returns: half of a file of tokens would be worse than none.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "write %s", path)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, errors.Join(err, os.Remove(f.Name())), "write %s", path)
	}
	return nil
}
