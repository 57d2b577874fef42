package client

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

func framerOf(text string, chunked bool) *framer {
	return &framer{r: bufio.NewReader(strings.NewReader(text)), w: io.Discard, chunked: chunked, limit: 64}
}

func TestMessagesAreReadInBothFramings(t *testing.T) {
	for _, c := range []struct {
		text, want string
		chunked    bool
	}{
		{"<hello/>]]>]]>", "<hello/>", false},
		{"<a>]]>]]</a>]]>]]>rest", "<a>]]>]]</a>", false},
		{"\n#4\n<a/>\n##\n", "<a/>", true},
		{"\n\n\n#2\n<a\n#2\n/>\n##\n", "<a/>", true},
		{"\n#6\n\n##\n<a\n##\n", "\n##\n<a", true},
	} {
		if got, err := framerOf(c.text, c.chunked).read(); err != nil || string(got) != c.want {
			t.Errorf("%q: %q (%v), want %q", c.text, got, err, c.want)
		}
	}
}

func TestBrokenFramingIsRefused(t *testing.T) {
	for _, c := range []struct {
		text, says string
		chunked    bool
	}{
		{"", "ended the session", false},
		{"<hello/>", "ended the session", false},
		{strings.Repeat("a>", 33), "more than 64 bytes", false},
		{strings.Repeat("a", 9000), "more than 64 bytes", false},
		{"", "ended the session", true},
		{"\n", "ended the session", true},
		{"<a/>", "chunked framing", true},
		{strings.Repeat("\n", 100), "chunked framing", true},
		{"\n##\n", "without a chunk", true},
		{"\n#0\n", "chunked framing", true},
		{"\n#04\n<a/>\n##\n", "chunked framing", true},
		{"\n#+4\n<a/>\n##\n", "chunked framing", true},
		{"\n#-4\n<a/>\n##\n", "chunked framing", true},
		{"\n#4 \n<a/>\n##\n", "chunked framing", true},
		{"\n#4294967296\n", "chunked framing", true},
		{"\n#65\n", "more than 64 bytes", true},
		{"\n#40\n" + strings.Repeat("a", 40) + "\n#40\n", "more than 64 bytes", true},
		{"\n#4\n<a", "ended the session", true},
		{"\n#4\n<a/>", "ended the session", true},
		{"\n#4\n<a/>##\n", "chunked framing", true},
		{"\n#" + strings.Repeat("1", 9000), "chunked framing", true},
	} {
		got, err := framerOf(c.text, c.chunked).read()
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.40q: %q (%v), want %q", c.text, got, err, c.says)
		}
	}
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		var wire bytes.Buffer
		f := newFramer(&wire)
		f.chunked = chunked
		for _, message := range []string{"<a/>", strings.Repeat("b", 70000)} {
			if err := f.write([]byte(message)); err != nil {
				t.Fatal(err)
			}
			if got, err := f.read(); err != nil || string(got) != message {
				t.Errorf("chunked %v: %.40q (%v)", chunked, got, err)
			}
		}
	}
}

func TestTheOpeningOfAMessageIsSentAhead(t *testing.T) {
	const message = declaration + "<a/>"
	for _, chunked := range []bool{false, true} {
		for early := range len(declaration) + 20 {
			var wire bytes.Buffer
			f := newFramer(&wire)
			f.chunked = chunked
			for i := range early {
				if err := f.prod(); err != nil || wire.Len() != min(i+1, len(f.opening())) {
					t.Fatalf("chunked %v: %q after %d bytes (%v)", chunked, wire.String(), i+1, err)
				}
			}
			for range 2 { // the one after it is whole again
				if err := f.write([]byte(message)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if got, err := f.read(); err != nil || string(got) != message {
					t.Errorf("chunked %v, %d bytes ahead: %q (%v)", chunked, early, got, err)
				}
			}
		}
	}
}

// FuzzFraming wants no panic and no message beyond the limit, and every message
// that is read to be written and read again as it was.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{"<hello/>]]>]]>", "\n#4\n<a/>\n##\n", "\n#2\n<a\n#2\n/>\n##\n", "\n#0\n", "\n#99999\n", "]]>]]>"} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, wire []byte, chunked bool) {
		in := framerOf(string(wire), chunked)
		for {
			message, err := in.read()
			if err != nil {
				return
			}
			if len(message) > in.limit {
				t.Fatalf("a message of %d bytes came through", len(message))
			}
			var again bytes.Buffer
			out := newFramer(&again)
			out.chunked = chunked
			if err := out.write(message); err != nil {
				t.Fatal(err)
			}
			if got, err := out.read(); len(message) > 0 && (err != nil || !bytes.Equal(got, message)) {
				t.Fatalf("%q reads back as %q (%v)", message, got, err)
			}
		}
	})
}
