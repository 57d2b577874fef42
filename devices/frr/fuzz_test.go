package frr

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"
)

// FuzzWords: whatever vtysh says, an operator sees one short printable line, and
// nothing that stood after "key-string", nor anything as long as a part of a key.
func FuzzWords(f *testing.F) {
	text := string(ours(2, 2).text)
	for _, s := range []string{
		"line 5: % Unknown command[14]:   key-string " + text, "line 99: Warning[1]: x", "% Can't open configuration file /etc/frr/vtysh.conf", "Exiting: failed to connect to any daemons.\nHint: x",
		"no: key-string " + text + "\n" + text[:40], "\x1b[31m" + strings.Repeat("no ", 200), "line 99999999999999999999: Warning", "",
	} {
		f.Add([]byte(s), []byte(""))
		f.Add([]byte(""), []byte(s))
	}
	s := between(of(), of(ours(2, 2)), today)
	f.Fuzz(func(t *testing.T, out, words []byte) {
		p := &printed{out: out, words: words, code: 1}
		for _, got := range []string{p.complaint(s), p.trouble()} {
			if got == "" || len([]rune(got)) > 3*maxSaid || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("says %q", got)
			}
			if keyShaped.MatchString(strings.ReplaceAll(got, "cryptographic-algorithm", "")) || strings.Contains(got, text[14:25]) {
				t.Errorf("says %q, which may be a part of a key", got)
			}
		}
	})
}

// FuzzRunningSecrets: no refusal of a configuration shows a word of a key-string.
func FuzzRunningSecrets(f *testing.F) {
	f.Add(" key 1\n", "x\n", "2\n")
	f.Add(" key x\n", "\n send-lifetime never\n", "")
	f.Add(" send-lifetime ", " key ", " accept-lifetime 00:00:00 Jan 01 1993 duration -1\n")
	text := ours(2, 2).text
	f.Fuzz(func(t *testing.T, before, between, after string) {
		var b bytes.Buffer
		b.WriteString(before + " key-string ")
		b.Write(text)
		b.WriteString("\n" + between)
		b.Write(text)
		b.WriteString(after)
		_, err := parseRunning([]byte(shown("key chain dc1-dc2\n"+b.String()+"exit\n!\n")), "dc1-dc2")
		if err != nil && strings.Contains(err.Error(), string(text[14:22])) {
			t.Errorf("says %q", err)
		}
	})
}

// FuzzLifetime: a lifetime that is read covers its own beginning and nothing after
// its end; one that cannot be read covers nothing.
func FuzzLifetime(f *testing.F) {
	for _, s := range []string{string(never), "00:00:00 Jan 01 1993 infinite", "00:00:00 Jan 01 1993 duration 60", "", "x", "00:00:00 Jan 01 1993", "25:00:00 Jan 01 1993 infinite"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := lifetime(s)
		if l == always {
			return
		}
		start, end, forever, err := parseLifetime(s)
		switch {
		case err != nil && (l.covers(today) || l.over(today)):
			t.Errorf("%q cannot be read, and means something", s)
		case err == nil && !forever && !end.Before(start) && !l.covers(start):
			t.Errorf("%q does not cover its beginning", s)
		case err == nil && !forever && (l.covers(end.Add(time.Second)) || !l.over(end.Add(time.Second))):
			t.Errorf("%q covers what comes after its end", s)
		case err == nil && l.covers(start.Add(-time.Second)):
			t.Errorf("%q covers what was before", s)
		}
	})
}
