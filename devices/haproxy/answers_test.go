package haproxy

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/secret/secrettest"
)

// listed is a ring as HAProxy prints it: keys of 80 bytes, or of so many.
func listed(t testing.TB, size int) (text string, canaries []secrettest.Canary) {
	t.Helper()
	text = "# id secret\n# 1 (/etc/haproxy/ticket-keys/edge)\n"
	for i := range slots {
		var b []byte
		for len(b) < size {
			c := secrettest.New(t)
			b = append(b, c.Bytes...)
			canaries = append(canaries, c)
		}
		text += fmt.Sprintf("1.%d %s\n", i, base64.StdEncoding.EncodeToString(b[:size]))
	}
	return text, canaries
}

func TestARingIsRead(t *testing.T) {
	text, canaries := listed(t, keySize)
	k, err := parseRing([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range k.names() {
		if !bytes.Equal(n[:], canaries[3*i].Bytes[:nameSize]) {
			t.Errorf("key %d has the name %x", i, n)
		}
	}
	file := ""
	for _, one := range k {
		file += string(appendKey(nil, one)) + "\n"
	}
	again, ok := parseFile([]byte("\n" + strings.SplitAfter(file, "\n")[2] + file))
	if !ok || again.names() != k.names() {
		t.Error("what was written does not read back")
	}
	k.wipe()
	if k.names() != (ring{}) {
		t.Error("a key is there after it was wiped")
	}
}

func TestWhatIsNoRingIsRefused(t *testing.T) {
	good, canaries := listed(t, keySize)
	short, more := listed(t, shortSize)
	canaries = append(canaries, more...)
	lines := strings.SplitAfter(good, "\n")
	for text, want := range map[string]error{
		"": errStrange, "# id secret\n": errStrange, "garbage\n": errStrange, "Unknown command: '" + lines[2] + "'\n": errStrange,
		strings.Join(lines[:4], ""): errStrange, good + lines[4]: errStrange, lines[3] + lines[2] + lines[4]: errStrange,
		"Permission denied\n": errDenied,
		"'show tls-keys' unable to locate referenced filename\n": errNoRing,
		"Can't find the target CLI!\n":                           errNoWork,
		short:                                                    errShort,
		strings.Replace(good, "1.0 ", "1.0 ?", 1):                nil,
		strings.Replace(good, "1.0 ", "1.0 AAAA", 1):             nil,
	} {
		k, err := parseRing([]byte(text))
		if err == nil || want != nil && !errors.Is(err, want) || k.names() != (ring{}) {
			t.Errorf("%.40q: %v, want %v", text, err, want)
		}
		for _, c := range canaries {
			c.Absent(t, "an error", fmt.Sprint(err))
		}
	}
}

func TestAPushIsTakenOrNot(t *testing.T) {
	for text, want := range map[string]error{
		"TLS ticket key updated!":                                    nil,
		"'set ssl tls-key' received a key of wrong size.":            errShort,
		"'set ssl tls-key' unable to locate referenced filename":     errNoRing,
		"Permission denied":                                          errDenied,
		"'set ssl tls-key' received invalid base64 encoded TLS key.": errStrange,
	} {
		if err := pushAnswer([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

const showProc = `#<PID>          <type>          <reloads>       <uptime>        <version>
8369            master          3 [failed: 0]   0d00h02m46s     2.6.12-1+deb12u4
# workers
20295           worker          0               0d00h00m00s     2.6.12-1+deb12u4
# old workers
8738            worker          1               0d00h02m42s     2.6.12-1+deb12u4
8701            worker          2               0d00h02m42s     2.6.12-1+deb12u4
# programs
`

func TestProcessesAreRead(t *testing.T) {
	p, err := parseProcesses([]byte(showProc))
	if err != nil || p.worker != "20295" || !slices.Equal(p.old, []string{"8738", "8701"}) || p.reloads != "3" || p.failed {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = parseProcesses([]byte(strings.Replace(showProc, "failed: 0", "failed: 2", 1)))
	if err != nil || !p.failed {
		t.Errorf("a reload that failed: %+v, %v", p, err)
	}
	for _, text := range []string{"", "Permission denied", "# workers\n1 worker 0\n"} {
		if _, err := parseProcesses([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	good, _ := listed(f, keySize)
	for _, s := range []string{good, showProc, "TLS ticket key updated!", "1.0 \n1.1 \n1.2 "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parseRing(b); err == nil && k[0].Len() != keySize {
			t.Error("a ring without keys")
		}
		if k, ok := parseFile(b); ok && k[2].Len() != keySize {
			t.Error("a file without keys")
		}
		_, _ = parseProcesses(b)
		_ = pushAnswer(b)
	})
}
