package bird

import (
	"bufio"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
)

func TestAnswersAreRead(t *testing.T) {
	for _, c := range []struct {
		text string
		code int
		want []string
	}{
		{"0001 BIRD 2.0.12 ready.\n", 1, []string{"BIRD 2.0.12 ready."}},
		{"0002-Reading configuration from /etc/bird/bird.conf\n0003 Reconfigured\n", 3, []string{"Reading configuration from /etc/bird/bird.conf", "Reconfigured"}},
		{"1020-bfd1:\n  a\n b\n+log line\n0000 \n", 0, []string{"bfd1:", " a", "b", ""}},
		{"8002 /etc/bird/bird.conf:11:1 syntax error\r\n", 8002, []string{"/etc/bird/bird.conf:11:1 syntax error"}},
	} {
		r, err := readReply(bufio.NewReader(strings.NewReader(c.text)))
		if err != nil || r.code != c.code || !slices.Equal(r.lines, c.want) {
			t.Errorf("%q: %+v, %v", c.text, r, err)
		}
	}
	for _, text := range []string{"", "0003", "\n", "hello\n", "00x3 y\n", "-001 y\n", "0001", "0002-a\n", "HTTP/1.1 400 Bad Request\r\n", strings.Repeat(" x\n", maxReply)} {
		if r, err := readReply(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%.40q is taken for %v", text, r.code)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("0002-a\n b\n0003 c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readReply(bufio.NewReader(strings.NewReader(string(data))))
		if err != nil {
			return
		}
		if len(r.lines) == 0 || strings.ContainsAny(words(r), "\n\x1b") || len([]rune(words(r))) > maxWords {
			t.Errorf("%q: %+v", data, r)
		}
		protocolsIn(r.lines)
		neighborsIn(r.lines, timersIn(r.lines))
		for _, p := range sessionsIn(r.lines) {
			if p.notices < 0 {
				t.Errorf("%q: %v", data, p)
			}
		}
	})
}

// TestWhatIsNotBirdIsNotAsked: another daemon's socket in the topology.
func TestWhatIsNotBirdIsNotAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("220 mail.example.net ESMTP\r\n"))
			_ = c.Close()
		}
	}()
	_, err = dial(t.Context(), path)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "not one of BIRD's") {
		t.Errorf("%v", err)
	}
}
