package haproxy_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/haproxy"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// canary is a key of link a with the SA that names it.
func canary(t *testing.T, e keychain.Epoch) (keychain.SA, secrettest.Canary) {
	t.Helper()
	c := secrettest.New(t)
	check, err := c.Key.Check()
	if err != nil {
		t.Fatal(err)
	}
	return keychain.SA{Link: "a", Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)}}, c
}

// stands wants what the device shows, and the key file to bring the same back.
func stands(t *testing.T, b *balancer, d *haproxy.Device, sends keychain.Ref, accepts ...keychain.Ref) {
	t.Helper()
	for range 2 {
		up, err := d.Upstream().Observe(t.Context(), "a")
		if err != nil || up.Sends != sends {
			t.Errorf("it sends with %v (%v), want %v", up.Sends, err, sends)
		}
		down, err := d.Downstream().Observe(t.Context(), "a")
		if err != nil || !slices.Equal(down.Accepts, accepts) {
			t.Errorf("it accepts %v (%v), want %v", down.Accepts, err, accepts)
		}
		if len(accepts) > 0 && !slices.Equal(lines(t, b.files[0]), b.rings[b.files[0]]) {
			t.Error("the key file is not the ring")
		}
		b.restart()
	}
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// inUse is a balancer that sends with epoch 1, and both keys.
func inUse(t *testing.T) (b *balancer, d *haproxy.Device, one, two keychain.SA, k1, k2 secrettest.Canary) {
	t.Helper()
	b, d = start(t, nil, "a", "b")
	one, k1 = canary(t, 1)
	two, k2 = canary(t, 2)
	do(t, d.Downstream().Install(t.Context(), one, k1.Key), d.Upstream().Switch(t.Context(), one, k1.Key))
	stands(t, b, d, one.Ref, one.Ref)
	return b, d, one, two, k1, k2
}

func TestARotationIsThreePushes(t *testing.T) {
	b, d, one, two, _, k2 := inUse(t)
	begin := b.pushes
	do(t, d.Downstream().Install(t.Context(), two, k2.Key))
	stands(t, b, d, one.Ref, one.Ref, two.Ref)
	do(t, d.Upstream().Switch(t.Context(), two, k2.Key))
	stands(t, b, d, two.Ref, one.Ref, two.Ref)
	do(t, d.Downstream().Remove(t.Context(), keychain.SA{Link: "a", Ref: keychain.Ref{Epoch: 1}}))
	stands(t, b, d, two.Ref, two.Ref)
	if b.pushes != begin+3 || b.reloads != 0 {
		t.Errorf("%d pushes and %d reloads", b.pushes-begin, b.reloads)
	}
	if r := b.rings[b.files[0]]; r[0] != r[1] || r[1] != r[2] {
		t.Error("the ring does not end as three copies")
	}
}

func TestAnAbortInStagingReloadsAndTouchesNoOtherRing(t *testing.T) {
	b, d, one, two, _, k2 := inUse(t)
	other, k := canary(t, 7)
	other.Link = "b"
	do(t, d.Downstream().Install(t.Context(), two, k2.Key), d.Downstream().Install(t.Context(), other, k.Key))
	stranger := lines(t, b.files[1])[0]
	write(t, b.files[1], stranger, stranger, stranger) // an editor, or a call that was broken off
	do(t, d.Downstream().Remove(t.Context(), two))
	stands(t, b, d, one.Ref, one.Ref)
	o, err := d.Downstream().Observe(t.Context(), "b")
	if err != nil || !slices.Equal(o.Accepts, []keychain.Ref{other.Ref}) || b.reloads != 1 {
		t.Errorf("link b accepts %v (%v) after %d reloads", o.Accepts, err, b.reloads)
	}
}

func TestAReloadThatFailsChangesNothing(t *testing.T) {
	b, d, one, two, _, k2 := inUse(t)
	do(t, d.Downstream().Install(t.Context(), two, k2.Key))
	b.broken = true
	err := d.Downstream().Remove(t.Context(), two)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "haproxy -c -f") {
		t.Errorf("a broken configuration: %v (%v)", err, fault.Of(err))
	}
	stands(t, b, d, one.Ref, one.Ref, two.Ref)
	b.broken, b.refuse = false, "Permission denied\n"
	err = d.Downstream().Remove(t.Context(), two)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "level admin") {
		t.Errorf("a reload that is refused: %v (%v)", err, fault.Of(err))
	}
	stands(t, b, d, one.Ref, one.Ref, two.Ref)
	b.refuse = ""
	do(t, d.Downstream().Remove(t.Context(), two))
	stands(t, b, d, one.Ref, one.Ref)
}

func TestALostAnswerIsRepeatedSafely(t *testing.T) {
	b, d, one, two, _, k2 := inUse(t)
	begin := b.pushes
	b.loseNext = true
	if err := d.Downstream().Install(t.Context(), two, k2.Key); !fault.Is(err, fault.Unknown) {
		t.Errorf("a lost answer: %v (%v)", err, fault.Of(err))
	}
	do(t, d.Downstream().Install(t.Context(), two, k2.Key))
	stands(t, b, d, one.Ref, one.Ref, two.Ref)
	if b.pushes != begin+1 {
		t.Errorf("%d pushes", b.pushes-begin)
	}
}

// A worker that starts between a push and its key file has the ring before.
func TestARestartDuringAPushIsSeen(t *testing.T) {
	b, d, one, two, _, k2 := inUse(t)
	do(t, d.Downstream().Install(t.Context(), two, k2.Key))
	before := lines(t, b.files[0])
	b.loseNext = true
	if err := d.Upstream().Switch(t.Context(), two, k2.Key); !fault.Is(err, fault.Unknown) {
		t.Fatal(err)
	}
	if !slices.Equal(lines(t, b.files[0]), before) {
		t.Error("the key file has a push whose answer is unknown")
	}
	b.restart()
	stands(t, b, d, one.Ref, one.Ref, two.Ref)
	do(t, d.Upstream().Switch(t.Context(), two, k2.Key))
	stands(t, b, d, two.Ref, one.Ref, two.Ref)
}

func TestTheKeyFileFollowsTheRing(t *testing.T) {
	b, d, one, _, _, _ := inUse(t)
	for _, spoil := range []func(file string) error{
		os.Remove,
		func(file string) error { return os.WriteFile(file, []byte("# edited\n"), 0o644) },
		func(file string) error { return os.WriteFile(file, nil, 0o600) },
	} {
		do(t, spoil(b.files[0]))
		if o, err := d.Upstream().Observe(t.Context(), "a"); err != nil || o.Sends != one.Ref {
			t.Fatalf("%v, %v", o, err)
		}
		b.restart()
		stands(t, b, d, one.Ref, one.Ref)
		if info, err := os.Stat(b.files[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	b.mu.Lock()
	stranger := lines(t, b.files[1])
	b.mu.Unlock()
	write(t, b.files[1], append(stranger, stranger[0])...)
	if _, err := d.Upstream().Observe(t.Context(), "b"); err != nil || len(lines(t, b.files[1])) != 4 {
		t.Errorf("a file that is the operator's still was changed (%v)", err)
	}
}

func TestAFileThatCannotBeWrittenIsKnownBeforeThePush(t *testing.T) {
	b, d, one, two, _, k2 := inUse(t)
	begin := b.pushes
	strict, err := haproxy.New("n1", map[string]any{
		"master": b.socket, "links": map[string]any{"a": map[string]any{"keyFile": b.files[0], "group": "no-such-group"}},
	})
	do(t, err)
	err = strict.Downstream().Install(t.Context(), two, k2.Key)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "cannot write key file "+b.files[0]+": there is no group no-such-group") || b.pushes != begin {
		t.Errorf("%v (%v) after %d pushes", err, fault.Of(err), b.pushes-begin)
	}
	stands(t, b, d, one.Ref, one.Ref)
}

func TestOtherBytesAreAMismatch(t *testing.T) {
	b, d, one, _, _, _ := inUse(t)
	other, k := canary(t, 1)
	for _, err := range []error{d.Downstream().Install(t.Context(), other, k.Key), d.Upstream().Switch(t.Context(), other, k.Key)} {
		if !fault.Is(err, fault.Mismatch) || !strings.Contains(err.Error(), "another key under epoch 1") {
			t.Errorf("another key: %v (%v)", err, fault.Of(err))
		}
	}
	stands(t, b, d, one.Ref, one.Ref)
}

func TestWhatCannotBeRemoved(t *testing.T) {
	b, d, one, two, _, k2 := inUse(t)
	if err := d.Downstream().Remove(t.Context(), one); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "last key") {
		t.Errorf("the last key: %v", err)
	}
	do(t, d.Downstream().Install(t.Context(), two, k2.Key))
	if err := d.Downstream().Remove(t.Context(), one); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "issued with it") {
		t.Errorf("the key in use: %v", err)
	}
	stands(t, b, d, one.Ref, one.Ref, two.Ref)
}

func TestTroubleIsSaidInWords(t *testing.T) {
	b, d, one, two, k1, k2 := inUse(t)
	said := func(want string, kind fault.Kind) {
		t.Helper()
		err := d.Downstream().Install(t.Context(), two, k2.Key)
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v (%v), want %q (%v)", err, fault.Of(err), want, kind)
		}
		k1.Absent(t, "an error", fmt.Sprintf("%v %#v", err, err))
		k2.Absent(t, "an error", fmt.Sprintf("%v %#v", err, err))
	}
	b.level = "user"
	said("start it with -S "+b.socket+",level,admin", fault.Unavailable)
	b.level = "admin"
	b.refuse = "Permission denied\n"
	said("permission denied: its socket needs level admin", fault.Unavailable)
	b.refuse = "Unknown command, you sent " + string(k2.Bytes) + "\n"
	said("an answer that keyorch does not know", fault.Unavailable)
	b.refuse = ""
	stands(t, b, d, one.Ref, one.Ref)
	ring := b.rings[b.files[0]]
	delete(b.rings, b.files[0])
	said("put tls-ticket-keys with this file on the bind line", fault.Unavailable)
	b.rings[b.files[0]] = ring
	do(t, os.Rename(b.socket, b.socket+".away"))
	said("cannot reach haproxy at "+b.socket+": no such file or directory", fault.Unavailable)
	do(t, os.Rename(b.socket+".away", b.socket))
	stands(t, b, d, one.Ref, one.Ref)
}
