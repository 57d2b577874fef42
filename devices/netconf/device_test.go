package netconf

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/netconf/client/clienttest"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

const (
	capCandidate = "urn:ietf:params:netconf:capability:candidate:1.0"
	capConfirmed = "urn:ietf:params:netconf:capability:confirmed-commit:1.1"
	capModule    = namespace8177 + "?module=ietf-key-chain&features=independent-send-accept-lifetime"

	ok = "<ok/>"
)

// box is a device that answers by rote: what it shows, and what it says to each
// kind of request.
type box struct {
	mu      sync.Mutex
	running string // the content of key-chains
	edited  string // the same of the candidate; "": as running
	says    map[string]string
	asked   []string
	do      func(request string) // is called before an answer, with mu held
}

// answer says what is in says for the first name that the request begins with.
func (b *box) answer(request string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.do != nil {
		b.do(request)
	}
	name := strings.FieldsFunc(request, func(r rune) bool { return r == '<' || r == '>' || r == '/' })[0]
	if strings.Contains(request, "<confirmed/>") {
		name = "confirmed commit"
	}
	b.asked = append(b.asked, name)
	if say, found := b.says[name]; found {
		return say
	}
	if name != "get-config" {
		return ok
	}
	inner := b.running
	if strings.Contains(request, "<candidate/>") && b.edited != "" {
		inner = b.edited
	}
	return `<data><key-chains xmlns="` + namespace8177 + `">` + inner + "</key-chains></data>"
}

func (b *box) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

func open(t *testing.T, b *box, capabilities ...string) *Device {
	t.Helper()
	if capabilities == nil {
		capabilities = []string{capCandidate, capConfirmed, capModule}
	}
	server := clienttest.Serve(t, clienttest.Speak(clienttest.Hello(capabilities...), b.answer))
	f := good()
	f["address"], f["identity"], f["hostKey"] = server.Address, server.Identity, server.HostKey
	d, err := New("n1", f)
	if err != nil {
		t.Fatal(err)
	}
	d.patience = 300 * time.Millisecond
	t.Cleanup(d.hangUp)
	return d
}

func shown(description string, keys ...string) string {
	return "<key-chain><name>c1</name><description>" + description + "</description>" + strings.Join(keys, "") + "</key-chain>"
}

func refuses(tag, message string) string {
	return "<rpc-error><error-tag>" + tag + "</error-tag><error-severity>error</error-severity><error-message>" + message + "</error-message></rpc-error>"
}

func install(t *testing.T, d *Device, e keychain.Epoch) (secrettest.Canary, error) {
	c := secrettest.New(t)
	sa := keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: e}, Serial: keychain.Serial(e)}
	return c, d.Downstream().Install(t.Context(), sa, c.Key)
}

func TestADeviceThatCannotStageIsNotTouched(t *testing.T) {
	for name, c := range map[string]struct {
		capabilities []string
		says         string
	}{
		"candidate": {[]string{capConfirmed, capModule}, "does not advertise the capability candidate"},
		"confirmed": {[]string{capCandidate, capModule}, "does not advertise the capability confirmed-commit"},
		"module":    {[]string{capCandidate, capConfirmed}, "does not advertise the module ietf-key-chain (RFC 8177)"},
		"feature": {[]string{capCandidate, capConfirmed, namespace8177 + "?module=ietf-key-chain&features=hex-key-string"},
			"does not advertise the feature independent-send-accept-lifetime of ietf-key-chain: it cannot stage"},
	} {
		b := &box{}
		d := open(t, b, c.capabilities...)
		_, err := install(t, d, 1)
		wants(t, err, fault.Unavailable, c.says)
		_, err = d.Upstream().Observe(t.Context(), "l1")
		wants(t, err, fault.Unavailable, "observe on n1: 127.0.0.1:")
		if asked := b.heard(); len(asked) != 0 {
			t.Errorf("%s: the device was asked for %v", name, asked)
		}
	}
	d := open(t, &box{})
	d.links["l1"] = link{chain: "c1", module: "acme", algorithm: "x", format: keystring}
	_, err := d.Upstream().Observe(t.Context(), "l1")
	wants(t, err, fault.Unavailable, "does not advertise the module acme of algorithm x")
	d.links["l1"] = link{chain: "c1", module: module8177, algorithm: "x", format: hexadecimal}
	d.hangUp()
	_, err = d.Upstream().Observe(t.Context(), "l1")
	wants(t, err, fault.Unavailable, "hex-key-string of ietf-key-chain: set keyFormat to keystring")
}

func TestARefusedChangeIsDiscarded(t *testing.T) {
	for says, name := range map[string]string{"did not take the change": "edit-config", "did not commit the change": "confirmed commit"} {
		b := &box{says: map[string]string{name: refuses("access-denied", "access denied")}}
		d := open(t, b)
		_, err := install(t, d, 1)
		wants(t, err, fault.Unavailable, says+" of key chain c1: access-denied: access denied")
		asked := b.heard()
		if i := slices.Index(asked, name); slices.Contains(asked, "commit") || !slices.Equal(asked[i:], []string{name, "discard-changes", "unlock"}) {
			t.Errorf("the device was asked for %v", asked)
		}
	}
}

func TestTheKeyIsNeverInAnError(t *testing.T) {
	b := &box{says: map[string]string{}}
	b.do = func(request string) {
		_, after, found := strings.Cut(request, "<keystring>")
		if key, _, _ := strings.Cut(after, "<"); found {
			b.says["edit-config"] = refuses("invalid-value", "invalid value '"+key+"'")
		}
	}
	_, err := install(t, open(t, b), 1)
	wants(t, err, fault.Unavailable, "invalid-value: (not shown")
	if len(err.Error()) > 300 {
		t.Errorf("%v", err)
	}
}

func TestSomebodyElsesChangesAreNotCommittedAlong(t *testing.T) {
	b := &box{edited: shown("mine", xmlKey(9, "", ""))}
	_, err := install(t, open(t, b), 1)
	wants(t, err, fault.Unavailable, "the candidate configuration has changes of key chain c1 that somebody has not committed")
	if slices.Contains(b.heard(), "edit-config") {
		t.Error("it was edited")
	}
	b = &box{says: map[string]string{"lock": refuses("resource-denied", "discard-changes needed")}}
	_, err = install(t, open(t, b), 1)
	wants(t, err, fault.Unavailable, "the candidate configuration cannot be locked: if somebody has changed it, commit or discard that: resource-denied: discard-changes needed")
}

func TestALockIsWaitedForButNotForLong(t *testing.T) {
	held := refuses("lock-denied", "held")
	held = strings.Replace(held, "</rpc-error>", "<error-info><session-id>42</session-id></error-info></rpc-error>", 1)
	b := &box{says: map[string]string{"lock": held}}
	d := open(t, b)
	began := time.Now()
	_, err := install(t, d, 1)
	wants(t, err, fault.Unavailable, "session 42 has locked the candidate configuration")
	if took := time.Since(began); took < d.patience || took > 10*d.patience {
		t.Errorf("it waited for %v", took)
	}
	if slices.Contains(b.heard(), "edit-config") {
		t.Error("it was edited")
	}
}

// A commit that the device says it made, and did not, is not confirmed.
func TestACommitThatDoesNotShowIsNotConfirmed(t *testing.T) {
	b := &box{}
	_, err := install(t, open(t, b), 1)
	wants(t, err, fault.Unknown, "it does not show the change that it said it committed")
	if slices.Contains(b.heard(), "commit") {
		t.Error("it was confirmed")
	}
}

func TestALostAnswerIsOfUnknownOutcomeOnlyAfterACommit(t *testing.T) {
	for name, kind := range map[string]fault.Kind{"edit-config": fault.Unavailable, "confirmed commit": fault.Unknown} {
		b := &box{says: map[string]string{name: ""}}
		_, err := install(t, open(t, b), 1)
		wants(t, err, kind, "the device ended the session")
	}
}

func TestASessionThatEndedMeanwhileIsReplaced(t *testing.T) {
	b := &box{running: shown("keyorch l1 1=e1-0f1e2d3c4b", xmlKey(1, string(always), string(always)))}
	d := open(t, b)
	for range 3 {
		o, err := d.Upstream().Observe(t.Context(), "l1")
		if err != nil || o.Sends.Epoch != 1 {
			t.Fatalf("%v (%v)", o, err)
		}
		d.kept.Close() // as a device that restarts
	}
}

func TestWhatIsNotConfirmedIsNotReported(t *testing.T) {
	waits := shown("keyorch l1 1=e1-0f1e2d3c4b unconfirmed=00ff00ff/1s", xmlKey(1, string(always), string(always)))
	b := &box{running: waits}
	d := open(t, b)
	_, err := d.Downstream().Observe(t.Context(), "l1")
	wants(t, err, fault.Unavailable, "a change of key chain c1 has been committed but not confirmed: the device undoes it within 1s")
	b.mu.Lock()
	b.running = ""
	b.mu.Unlock()
	if o, err := d.Downstream().Observe(t.Context(), "l1"); err != nil || len(o.Accepts) != 0 {
		t.Errorf("after the undo: %v (%v)", o, err)
	}
	// It stays, although its limit is long over: somebody made it permanent, unless a
	// commit still waits.
	b.mu.Lock()
	b.running, b.says = waits, map[string]string{"lock": refuses("in-use", "confirmed commit pending")}
	b.mu.Unlock()
	d.waiting["c1"] = waiting{change: "00ff00ff", since: time.Now().Add(-time.Minute)}
	_, err = d.Downstream().Observe(t.Context(), "l1")
	wants(t, err, fault.Unavailable, "committed but not confirmed")
	b.mu.Lock()
	b.says = nil
	b.mu.Unlock()
	if o, err := d.Downstream().Observe(t.Context(), "l1"); err != nil || len(o.Accepts) != 1 {
		t.Errorf("a change that was made permanent: %v (%v)", o, err)
	}
}

func TestADeviceThatIsAwayIsUnavailable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := listener.Addr().String()
	_ = listener.Close()
	f := good()
	f["address"], f["identity"] = away, clienttest.NewKey(t).File
	wants(t, Check(t.Context(), "n1", f), fault.Unavailable,
		fmt.Sprintf("observe on n1: cannot open a NETCONF session with %s as keyorch: dial tcp %s: connect: connection refused", away, away))
}

func TestTimeUpIsSaidPlainly(t *testing.T) {
	hangs := make(chan struct{})
	t.Cleanup(func() { close(hangs) })
	b := &box{do: func(string) { <-hangs }}
	d := open(t, b)
	d.timeout = 200 * time.Millisecond
	_, err := install(t, d, 1)
	wants(t, err, fault.Unavailable, "install epoch 1 on n1: no answer of 127.0.0.1:")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Upstream().Observe(ctx, "l1")
	wants(t, err, fault.Unavailable, "context canceled")
}

func TestCheckLooksAndChangesNothing(t *testing.T) {
	b := &box{}
	server := clienttest.Serve(t, clienttest.Speak(clienttest.Hello(capCandidate, capConfirmed, capModule), b.answer))
	f := good()
	f["address"], f["identity"], f["hostKey"] = server.Address, server.Identity, server.HostKey
	if err := Check(t.Context(), "n1", f); err != nil || !slices.Equal(b.heard(), []string{"get-config"}) {
		t.Errorf("%v, asked %v", err, b.heard())
	}
	b.running = shown("keyorch l9 ")
	wants(t, Check(t.Context(), "n1", f), fault.Unavailable, "key chain c1 is that of link l9")
	wants(t, Check(t.Context(), "n1", nil), fault.Invalid, "address: it is missing")
}
