package frr

import (
	"strings"
	"testing"
)

func TestComplaints(t *testing.T) {
	s := between(of(), of(ours(2, 2)), today)
	text := string(ours(2, 2).text)
	for _, c := range []struct{ name, out, words, want string }{
		{"refused by the daemon", "Hash algorithm not supported, compile with --with-crypto=openssl\n",
			"line 4: Failure to communicate[13] to ospf6d, line:   cryptographic-algorithm hmac-sha-256\n\n",
			`"cryptographic-algorithm hmac-sha-256": ospf6d refused it: Hash algorithm not supported, compile with --with-crypto=openssl`},
		{"a key-string", "", "line 5: % Unknown command[14]:   key-string " + text + "\n", `"key-string …": unknown command`},
		{"a key-string in the answer", "no: key-string " + text + "\n" + text[:40] + "\n", "line 5: Warning[14]...: key-string " + text + "\n", `"key-string …": warning`},
		{"a part of a key-string", "", text[14:30] + "\n", "vtysh ended with exit code 1"},
		{"a line that is not ours", "", "line 99: % Unknown command[14]: x\n", "unknown command"},
		{"something else", "", "% Can't open configuration file /etc/frr/x/vtysh.conf due to 'No such file or directory'.\nExiting: failed to connect to any daemons.\nHint: if this seems wrong, try running me as a privileged user!\n", "failed to connect to any daemons"},
		{"nothing", "", "", "vtysh ended with exit code 1"},
	} {
		p := &printed{out: []byte(c.out), words: []byte(c.words), code: 1}
		got := p.complaint(s)
		if got != c.want {
			t.Errorf("%s: %s\nwant: %s", c.name, got, c.want)
		}
		if strings.Contains(got, text[14:22]) {
			t.Errorf("%s: key bytes in %s", c.name, got)
		}
	}
}

func TestWhatIsSaidIsFitForATable(t *testing.T) {
	if got := safe([]byte("\x1b[31mno\tway\xff\r\n")); got != "[31mno way" {
		t.Errorf("%q", got)
	}
	if got := safe([]byte(strings.Repeat("no ", 200))); len([]rune(got)) > maxSaid {
		t.Errorf("%d characters", len([]rune(got)))
	}
}
