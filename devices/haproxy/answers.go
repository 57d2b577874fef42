package haproxy

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var (
	errDenied = errors.New("permission denied: its socket needs level admin")
	errNoRing = errors.New("it has no such ring: put tls-ticket-keys with this file on the bind line, and reload it")
	errNoWork = errors.New("it has no worker: look at its log")
)

// known is what HAProxy is known to say instead of doing what it was asked; nil for
// anything else. It is never quoted: it may repeat a command, and so a key.
func known(b []byte) error {
	says := func(words string) bool { return bytes.Contains(b, []byte(words)) }
	switch {
	case says("Permission denied"):
		return errDenied
	case says("unable to locate referenced filename"):
		return errNoRing
	case says("key of wrong size"):
		return errShort
	case says("Can't find the target"):
		return errNoWork
	}
	return nil
}

var errStrange = errors.New("an answer that keyorch does not know")

// parseRing reads what "show tls-keys RING" answers:
//
//	# id secret
//	# 1 (/etc/haproxy/keys)
//	1.0 BASE64
//	1.1 BASE64
//	1.2 BASE64
func parseRing(b []byte) (keys, error) {
	if err := known(b); err != nil {
		return keys{}, err
	}
	var k keys
	n := 0
	for line := range bytes.Lines(b) {
		line = bytes.TrimSpace(line)
		switch id, text, ok := bytes.Cut(line, []byte(" ")); {
		case len(line) == 0 || line[0] == '#':
		case !ok || n == slots || !bytes.HasSuffix(id, fmt.Appendf(nil, ".%d", n)):
			k.wipe()
			return keys{}, errStrange
		default:
			one, err := parseKey(text)
			if err != nil {
				k.wipe()
				return keys{}, err
			}
			k[n] = one
			n++
		}
	}
	if n != slots {
		k.wipe()
		return keys{}, errStrange
	}
	return k, nil
}

// pushAnswer is nil when a key was taken.
func pushAnswer(b []byte) error {
	if bytes.Contains(b, []byte("TLS ticket key updated!")) {
		return nil
	}
	if err := known(b); err != nil {
		return err
	}
	return errStrange
}

// processes is what "show proc" says: the worker in charge, those that a reload has
// told to end, and how often the master was reloaded.
type processes struct {
	worker  string
	old     []string
	reloads string
	failed  bool // the last reload
}

// parseProcesses reads what "show proc" answers:
//
//	#<PID>  <type>  <reloads>       <uptime>     <version>
//	8369    master  3 [failed: 0]   0d00h02m46s  2.6.12
//	# workers
//	20295   worker  0               0d00h00m00s  2.6.12
//	# old workers
//	8738    worker  1               0d00h02m42s  2.6.12
func parseProcesses(b []byte) (processes, error) {
	var p processes
	part, sawMaster := "", false
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if heading, ok := strings.CutPrefix(strings.TrimSpace(line), "# "); ok {
			part = heading
			continue
		}
		if len(words) < 3 {
			continue
		}
		if _, err := strconv.ParseUint(words[0], 10, 31); err != nil {
			continue
		}
		switch {
		case words[1] == "master":
			p.reloads, sawMaster = words[2], true
			p.failed = len(words) > 4 && words[3] == "[failed:" && words[4] != "0]"
		case words[1] == "worker" && part == "workers" && p.worker == "":
			p.worker = words[0]
		case words[1] == "worker" && part == "old workers":
			p.old = append(p.old, words[0])
		}
	}
	if !sawMaster {
		return processes{}, errStrange
	}
	return p, nil
}
