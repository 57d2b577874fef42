package client_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/devices/netconf/client/clienttest"
)

const (
	ok          = "<ok/>"
	yangLibrary = "urn:ietf:params:netconf:capability:yang-library:1.0?revision=2016-06-21&module-set-id=1"
	chains      = "urn:ietf:params:xml:ns:yang:ietf-key-chain?module=ietf-key-chain&revision=2017-06-15&features=hex-key-string,independent-send-accept-lifetime"
)

func dial(t *testing.T, hello string, answer func(string) string) *client.Session {
	t.Helper()
	server := clienttest.Serve(t, clienttest.Speak(hello, answer))
	s, err := client.Dial(t.Context(), server.Target(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func says(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("it says %v, want %q", err, want)
	}
}

func TestEveryOperationAsksInTheWordsOfTheStandard(t *testing.T) {
	var asked []string
	s := dial(t, clienttest.Hello(), func(request string) string {
		asked = append(asked, request)
		if strings.HasPrefix(request, "<get") {
			return "<data><name> x </name></data>"
		}
		return ok
	})
	ctx := t.Context()
	var data struct {
		Name string `xml:"name"`
	}
	for _, err := range []error{
		s.Lock(ctx, client.CandidateConfig), s.Edit(ctx, []byte("<a/>")), s.CommitFor(ctx, 1500*time.Millisecond),
		s.Get(ctx, client.Running, "<b/>", &data), s.Commit(ctx), s.Discard(ctx), s.Store(ctx), s.Unlock(ctx, client.CandidateConfig),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"<lock><target><candidate/></target></lock>",
		"<edit-config><target><candidate/></target><config><a/></config></edit-config>",
		"<commit><confirmed/><confirm-timeout>2</confirm-timeout></commit>",
		`<get-config><source><running/></source><filter type="subtree"><b/></filter></get-config>`,
		"<commit/>", "<discard-changes/>",
		"<copy-config><target><startup/></target><source><running/></source></copy-config>",
		"<unlock><target><candidate/></target></unlock>",
	}
	if strings.Join(asked, "\n") != strings.Join(want, "\n") || strings.TrimSpace(data.Name) != "x" {
		t.Errorf("asked:\n%s\nwant:\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}

const refusal = `<rpc-error><error-type>protocol</error-type><error-tag>%TAG%</error-tag><error-severity>error</error-severity>` +
	`<error-path>/key-chains</error-path><error-message xml:lang="en">%SAYS%</error-message>` +
	`<error-info><session-id>42</session-id></error-info></rpc-error>`

func TestARefusalIsAnErrorWithTheWordsOfTheDevice(t *testing.T) {
	s := dial(t, clienttest.Hello(), func(string) string {
		return strings.NewReplacer("%TAG%", "lock-denied", "%SAYS%", "held\n by another").Replace(refusal)
	})
	err := s.Lock(t.Context(), client.CandidateConfig)
	var refused *client.RPCError
	if err == nil || s.Dead() {
		t.Fatalf("%v, dead %v", err, s.Dead())
	}
	if !errors.As(err, &refused) || refused.Session != 42 || refused.Tag != "lock-denied" {
		t.Errorf("%#v", err)
	}
	says(t, err, "lock-denied at /key-chains: held by another")
}

func TestAWarningIsNotAnError(t *testing.T) {
	s := dial(t, clienttest.Hello(), func(string) string {
		return "<rpc-error><error-tag>x</error-tag><error-severity>warning</error-severity></rpc-error><ok/>"
	})
	if err := s.Commit(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestARefusalNeverQuotesTheKey(t *testing.T) {
	key := "zS4kQ0dO9aLx2vTn7WmEoYb1"
	for form, quote := range map[string]string{
		"whole": key, "a part": key[5:14], "upper case": strings.ToUpper(key), "in pieces": key[:5] + " " + key[5:9] + ":" + key[9:],
	} {
		s := dial(t, clienttest.Hello(), func(string) string {
			return strings.NewReplacer("%TAG%", "invalid-value", "%SAYS%", "bad value '"+quote+"'").Replace(refusal)
		})
		s.Hide([]byte(key))
		err := s.Edit(t.Context(), []byte("<a/>"))
		says(t, err, "invalid-value at /key-chains: (not shown")
		if strings.Contains(err.Error(), quote) {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestAHiddenTextInHexadecimalIsFoundWithItsColons(t *testing.T) {
	colons := "6b:65:79:6f:72:63:68:21:61:62"
	plain, err := hex.DecodeString(strings.ReplaceAll(colons, ":", ""))
	if err != nil || string(plain) != "keyorch!ab" {
		t.Fatal(err)
	}
	s := dial(t, clienttest.Hello(), func(string) string {
		return strings.NewReplacer("%TAG%", "x", "%SAYS%", "value 6B65796F72636821").Replace(refusal)
	})
	s.Hide([]byte(colons))
	says(t, s.Edit(t.Context(), []byte("<a/>")), "not shown")
}

func TestRepliesThatSayNothingBreakTheSession(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{"<data/>", "neither what was asked for nor an error"},
		{"", "ended the session"},
		{"<ok>", "not an rpc-reply"},
	} {
		s := dial(t, clienttest.Hello(), func(string) string { return c.answer })
		says(t, s.Commit(t.Context()), c.want)
		if !s.Dead() {
			t.Errorf("after %q the session goes on", c.answer)
		}
		says(t, s.Commit(t.Context()), "ended the session")
	}
	s := dial(t, clienttest.Hello(), func(string) string { return ok })
	says(t, s.Get(t.Context(), client.Running, "", &struct{}{}), "neither what was asked for")
}

func TestAReplyToAnotherRequestIsNotTaken(t *testing.T) {
	server := clienttest.Serve(t, func(rw io.ReadWriter) {
		_, _ = io.WriteString(rw, clienttest.Hello()+"]]>]]>")
		_, _ = io.WriteString(rw, `<rpc-reply xmlns="`+client.Namespace+`" message-id="2"><ok/></rpc-reply>]]>]]>`)
		_, _ = io.Copy(io.Discard, rw)
	})
	s, err := client.Dial(t.Context(), server.Target(t))
	if err != nil {
		t.Fatal(err)
	}
	says(t, s.Commit(t.Context()), "answered another request")
}

func TestChunksAreUsedWithADeviceThatHasThem(t *testing.T) {
	server := clienttest.Serve(t, func(rw io.ReadWriter) {
		_, _ = io.WriteString(rw, clienttest.Hello("urn:ietf:params:netconf:base:1.1")+"]]>]]>\n")
		for _, part := range []string{"<rpc-reply message-id='1' ", "xmlns='" + client.Namespace + "'><ok/></rpc-reply>"} {
			_, _ = fmt.Fprintf(rw, "\n#%d\n%s", len(part), part)
		}
		_, _ = io.WriteString(rw, "\n##\n")
		_, _ = io.Copy(io.Discard, rw)
	})
	s, err := client.Dial(t.Context(), server.Target(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context()); err != nil {
		t.Error(err)
	}
}

// A device that is slow at first reads a request together with the hello, and what it
// is prodded with too, and then waits for more, as netconfd does.
func TestADeviceThatWaitsForMoreIsProdded(t *testing.T) {
	t.Parallel()
	requests := make(chan string, 2)
	server := clienttest.Serve(t, func(rw io.ReadWriter) {
		_, _ = io.WriteString(rw, clienttest.Hello()+"]]>]]>")
		r := bufio.NewReader(rw)
		_, _ = clienttest.Message(r)
		for id := 1; ; id++ {
			request, err := clienttest.Message(r)
			if err == nil && id == 1 {
				_, err = r.Peek(2)
			}
			if err != nil {
				return
			}
			requests <- request
			_, _ = fmt.Fprintf(rw, `<rpc-reply xmlns="%s" message-id="%d"><ok/></rpc-reply>]]>]]>`, client.Namespace, id)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := client.Dial(ctx, server.Target(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if first, second := <-requests, <-requests; second != strings.Replace(first, `"1"`, `"2"`, 1) {
		t.Errorf("the request after it is %q, the first was %q", second, first)
	}
}

func TestModulesAreFoundInTheHelloAndInTheLibrary(t *testing.T) {
	old := `<data><modules-state xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"><module><name>ietf-key-chain</name>` +
		`<namespace>n</namespace><conformance-type>%TYPE%</conformance-type><feature>f</feature></module></modules-state></data>`
	newer := `<data><yang-library xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"><module-set><name>m</name><module><name>ietf-key-chain</name>` +
		`<namespace>n</namespace><feature>f</feature></module></module-set></yang-library></data>`
	for name, c := range map[string]struct {
		hello, answer string
		found         bool
		features      string
	}{
		"hello":                  {clienttest.Hello(chains), "", true, "hex-key-string independent-send-accept-lifetime"},
		"nowhere":                {clienttest.Hello(), "", false, ""},
		"RFC 7895":               {clienttest.Hello(yangLibrary), strings.ReplaceAll(old, "%TYPE%", "implement"), true, "f"},
		"imported only":          {clienttest.Hello(yangLibrary), strings.ReplaceAll(old, "%TYPE%", "import"), false, ""},
		"RFC 8525":               {clienttest.Hello(yangLibrary), newer, true, "f"},
		"a library without data": {clienttest.Hello(yangLibrary, chains), "<data/>", true, "hex-key-string independent-send-accept-lifetime"},
		"a library not shown":    {clienttest.Hello(yangLibrary, chains), strings.ReplaceAll(refusal, "%TAG%", "access-denied"), true, "hex-key-string independent-send-accept-lifetime"},
	} {
		s := dial(t, c.hello, func(string) string { return c.answer })
		m, found, err := s.Module(t.Context(), "ietf-key-chain")
		if err != nil || found != c.found || strings.Join(m.Features, " ") != c.features {
			t.Errorf("%s: %+v, %v (%v)", name, m, found, err)
		}
	}
}

func TestTheHelloIsJudged(t *testing.T) {
	for hello, want := range map[string]string{
		"<hello/>": "not a hello",
		"go away":  "not a hello",
		`<hello xmlns="` + client.Namespace + `"><capabilities><capability>urn:x</capability></capabilities></hello>`: "neither NETCONF 1.0 nor 1.1",
	} {
		server := clienttest.Serve(t, clienttest.Speak(hello, nil))
		_, err := client.Dial(t.Context(), server.Target(t))
		says(t, err, want)
	}
}

func TestTheHostKeyIsPinned(t *testing.T) {
	server := clienttest.Serve(t, clienttest.Speak(clienttest.Hello(), nil))
	for _, good := range []string{server.HostKey, server.HostLine, "dc1-r1 " + server.HostLine} {
		key, err := client.ParseHostKey(good)
		if err != nil {
			t.Fatal(err)
		}
		target := server.Target(t)
		target.HostKey = key
		s, err := client.Dial(t.Context(), target)
		if err != nil {
			t.Fatalf("%q: %v", good, err)
		}
		s.Close()
	}
	other := clienttest.Serve(t, clienttest.Speak(clienttest.Hello(), nil))
	target := server.Target(t)
	target.HostKey = other.Target(t).HostKey
	_, err := client.Dial(t.Context(), target)
	says(t, err, "the device shows the host key "+server.HostKey+" (ssh-ed25519), not "+other.HostKey)
	_, err = client.Dial(t.Context(), client.Target{Address: server.Address, User: "x", Identity: server.Identity})
	says(t, err, "the device shows the host key")
	for _, bad := range []string{"", "SHA256:", "SHA256:abc", "MD5:00", "ssh-ed25519 nonsense"} {
		if _, err := client.ParseHostKey(bad); err == nil {
			t.Errorf("%q is taken for a host key", bad)
		}
	}
}

func TestThePrivateKeyIsLookedAt(t *testing.T) {
	server := clienttest.Serve(t, clienttest.Speak(clienttest.Hello(), nil))
	target := server.Target(t)
	if err := os.Chmod(target.Identity, 0o604); err != nil {
		t.Fatal(err)
	}
	_, err := client.Dial(t.Context(), target)
	says(t, err, "is open to everybody on this host (mode 0604): chmod 0600 it")
	target.Identity = t.TempDir() + "/none"
	_, err = client.Dial(t.Context(), target)
	says(t, err, "cannot read the private key")
	if err := os.WriteFile(target.Identity, []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = client.Dial(t.Context(), target)
	says(t, err, "is not a private key")
	target.Identity = clienttest.NewKey(t).File
	_, err = client.Dial(t.Context(), target)
	says(t, err, "does not let user keyorch in with the key of "+target.Identity)
}

func TestASilentDeviceIsLeftWhenTimeIsUp(t *testing.T) {
	silent := clienttest.Serve(t, func(rw io.ReadWriter) { _, _ = io.Copy(io.Discard, rw) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := client.Dial(ctx, silent.Target(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a device that says no hello: %v", err)
	}
	hangs := make(chan struct{})
	t.Cleanup(func() { close(hangs) })
	s := dial(t, clienttest.Hello(), func(string) string { <-hangs; return ok })
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Commit(ctx); !errors.Is(err, context.DeadlineExceeded) || !s.Dead() {
		t.Errorf("a device that does not answer: %v, dead %v", err, s.Dead())
	}
}
