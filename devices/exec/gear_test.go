package exec_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The gear programs of these tests are this test binary, run once more.
const (
	gearMode  = "KEYORCH_TEST_GEAR"  // what kind of gear
	gearState = "KEYORCH_TEST_STATE" // the directory that it lives in
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(gearMode); mode != "" {
		gear(mode)
		return
	}
	os.Exit(m.Run())
}

// asked is what a gear program reads.
type asked struct {
	Contract int
	Op, Role string
	Link     string
	Node     string
	Turn     uint64
	Epoch    uint64
	KCV      string
	Key      []byte
	Params   map[string]any
}

// held is what a gear program keeps, and prints.
type held struct {
	Accepts []heldKey `json:"accepts"`
	Sends   heldKey   `json:"sends"`
}

type heldKey struct {
	Epoch uint64 `json:"epoch"`
	KCV   string `json:"kcv"`
}

func gear(mode string) {
	in, _ := io.ReadAll(os.Stdin)
	var a asked
	if err := json.Unmarshal(in, &a); err != nil {
		quit(10, "cannot read the request")
	}
	dir := os.Getenv(gearState)
	if mode == "gear" {
		behave(a, dir)
		return
	}
	if a.Op == "observe" && !strings.HasPrefix(mode, "observe ") {
		fmt.Println(`{"accepts":[],"sends":null}`)
		return
	}
	misbehave(strings.TrimPrefix(mode, "observe "), a, dir, in)
}

// behave is gear that keeps the contract, with the faults that a test has put
// into the file "next".
func behave(a asked, dir string) {
	next := filepath.Join(dir, "next")
	fault := ""
	if a.Op != "observe" {
		b, _ := os.ReadFile(next)
		fault = string(b)
		_ = os.Remove(next)
	}
	switch fault {
	case "fail":
		quit(1, "it does not work just now")
	case "hang":
		hang()
	}
	file := filepath.Join(dir, "keys-"+a.Link+"-"+a.Role)
	var h held
	if b, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(b, &h)
	}
	h.carryOut(a, dir)
	b, _ := json.Marshal(h)
	if a.Op != "observe" {
		_ = os.WriteFile(file+".new", b, 0o600)
		_ = os.Rename(file+".new", file)
	}
	if fault == "lose" {
		hangUp()
	}
	fmt.Println(string(b))
}

func (h *held) carryOut(a asked, dir string) {
	k := heldKey{a.Epoch, a.KCV}
	i := slices.IndexFunc(h.Accepts, func(o heldKey) bool { return o.Epoch == k.Epoch })
	switch {
	case a.Op == "install" && i >= 0 && h.Accepts[i] != k, a.Op == "switch" && h.Sends.Epoch == k.Epoch && h.Sends != k:
		quit(10, "another key is there")
	case a.Op == "install" && i < 0:
		h.Accepts = append(h.Accepts, k)
	case a.Op == "remove" && i >= 0:
		h.Accepts = slices.Delete(h.Accepts, i, i+1)
	case a.Op == "switch" && h.Sends != k:
		h.Sends = k
		use(k, dir)
	}
}

// use writes down which keys this gear has ever begun to send with, and how
// often that was one it had used before. No restart clears that.
func use(k heldKey, dir string) {
	used := filepath.Join(dir, "used-"+k.KCV)
	if _, err := os.Stat(used); err == nil {
		_ = os.WriteFile(filepath.Join(dir, "reused-"+k.KCV), nil, 0o600)
	}
	_ = os.WriteFile(used, nil, 0o600)
}

// misbehave is gear in trouble.
func misbehave(mode string, a asked, dir string, in []byte) {
	done := fmt.Sprintf(`{"accepts":[{"epoch":%d,"kcv":%q}],"sends":{"epoch":%d,"kcv":%q}}`, a.Epoch, a.KCV, a.Epoch, a.KCV)
	switch mode {
	case "hang":
		hang()
	case "garbage":
		fmt.Println("Traceback (most recent call last):")
	case "nothing":
	case "two objects":
		fmt.Println(done, done)
	case "a megabyte":
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 1024 {
			if _, err := os.Stdout.Write(line); err != nil {
				break
			}
		}
		_ = os.WriteFile(filepath.Join(dir, "finished"), nil, 0o600)
	case "exit 1":
		quit(1, "the port is busy")
	case "exit 10":
		quit(10, "there is no such port")
	case "signal":
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		hang()
	case "wrong KCV":
		fmt.Println(strings.ReplaceAll(done, a.KCV, "00000000ff"))
	case "no KCV":
		fmt.Println(strings.ReplaceAll(done, a.KCV, ""))
	case "not there":
		fmt.Println(`{"accepts":[],"sends":null}`)
	case "grandchild", "grandchild and hang":
		child := exec.Command("/bin/sh", "-c", "exec sleep 300")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			quit(1, err.Error())
		}
		_ = os.WriteFile(filepath.Join(dir, "grandchild"), fmt.Append(nil, child.Process.Pid), 0o600)
		if mode != "grandchild" {
			hang()
		}
		fmt.Println(done)
	case "record":
		b, _ := json.Marshal(map[string]any{"args": os.Args, "env": os.Environ(), "stdin": string(in)})
		_ = os.WriteFile(filepath.Join(dir, "record"), b, 0o600)
		fmt.Println(done)
	default:
		quit(1, leak(mode, a.Key))
	}
}

// leak is a message with the key in it.
func leak(mode string, key []byte) string {
	forms := map[string]string{
		"leak raw":           string(key),
		"leak hex":           hex.EncodeToString(key),
		"leak HEX":           strings.ToUpper(hex.EncodeToString(key)),
		"leak hex, spaced":   fmt.Sprintf("% x", key),
		"leak hex, a part":   hex.EncodeToString(key[3:17]),
		"leak base64":        base64.StdEncoding.EncodeToString(key),
		"leak base64url":     base64.RawURLEncoding.EncodeToString(key),
		"leak base64, moved": base64.StdEncoding.EncodeToString(append([]byte("k"), key...)),
		"leak decimal":       fmt.Sprint(key),
		"leak 0x":            fmt.Sprintf("%#v", key),
	}
	return "bad key " + forms[mode] + " for this port"
}

func hang() { time.Sleep(time.Hour) }

// hangUp ends without an answer that can be read.
func hangUp() {
	fmt.Print(`{"accepts":`)
	os.Exit(0)
}

func quit(code int, message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(code)
}
