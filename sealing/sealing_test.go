package sealing_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/sealing"
)

// secret is a key of one repeated byte, as a line of a file.
func secret(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
}

func keys(t *testing.T, lines ...string) *sealing.Keys {
	t.Helper()
	k, err := sealing.Parse([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t *testing.T, k *sealing.Keys, v any) *commonpb.Payload {
	t.Helper()
	p, err := k.Converter().ToPayload(v)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatIsSealedCanBeOpenedAndNotRead(t *testing.T) {
	k := keys(t, secret(1))
	p := seal(t, k, "oslo-turin")
	if raw, _ := proto.Marshal(p); bytes.Contains(raw, []byte("oslo-turin")) || bytes.Contains(raw, []byte("json/plain")) {
		t.Errorf("it can be read: %s", raw)
	}
	var got string
	if err := k.Converter().FromPayload(p, &got); err != nil || got != "oslo-turin" {
		t.Errorf("it opens as %q, %v", got, err)
	}
	if again := seal(t, k, "oslo-turin"); bytes.Equal(p.Data, again.Data) {
		t.Error("the same payload is sealed to the same bytes")
	}
	// Teeth: without a key it is in clear.
	if raw, _ := proto.Marshal(seal(t, nil, "oslo-turin")); !bytes.Contains(raw, []byte("oslo-turin")) {
		t.Error("a payload in clear was not found")
	}
}

func TestKeysRotate(t *testing.T) {
	first := seal(t, keys(t, secret(1)), "a")
	clear := seal(t, nil, "a")
	both := keys(t, "# new since May", secret(2), "", secret(1))
	second := seal(t, both, "a")
	for name, p := range map[string]*commonpb.Payload{"old": first, "new": second, "clear": clear} {
		var got string
		if err := both.Converter().FromPayload(p, &got); err != nil || got != "a" {
			t.Errorf("%s opens as %q, %v", name, got, err)
		}
	}
	if id := string(second.Metadata["keyorch-key"]); id != both.IDs()[0] || id == both.IDs()[1] {
		t.Errorf("sealed with %s of %v", id, both.IDs())
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	k := keys(t, secret(1))
	flipped := proto.Clone(seal(t, k, "a")).(*commonpb.Payload)
	flipped.Data[len(flipped.Data)-1] ^= 1
	renamed := proto.Clone(seal(t, k, "a")).(*commonpb.Payload)
	renamed.Metadata["keyorch-key"] = []byte(keys(t, secret(2)).IDs()[0])
	strange := proto.Clone(renamed).(*commonpb.Payload)
	strange.Metadata["keyorch-key"] = []byte("../../etc/passwd")
	for name, c := range map[string]struct {
		with *sealing.Keys
		p    *commonpb.Payload
		kind fault.Kind
		says string
	}{
		"no key at all": {nil, seal(t, k, "a"), fault.Refused, "set KEYORCH_TEMPORAL_CODEC"},
		"another key":   {keys(t, secret(2)), seal(t, k, "a"), fault.Refused, "key " + k.IDs()[0] + " is missing"},
		"changed":       {k, flipped, fault.Mismatch, "not what was sealed"},
		"key swapped":   {keys(t, secret(2)), renamed, fault.Mismatch, "not what was sealed"},
		"strange name":  {k, strange, fault.Mismatch, "names no key"},
	} {
		var got string
		err := c.with.Converter().FromPayload(c.p, &got)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAWorkflowWaitsForItsKey wants a panic, which fails a task and no workflow.
func TestAWorkflowWaitsForItsKey(t *testing.T) {
	p := seal(t, keys(t, secret(1)), "a")
	dc := keys(t, secret(2)).Converter()
	defer func() {
		if recover() == nil {
			t.Error("an error would end the workflow")
		}
	}()
	var got string
	_ = dc.(workflow.ContextAware).WithWorkflowContext(nil).FromPayload(p, &got)
}

func TestFailuresAreSealed(t *testing.T) {
	failed := temporal.NewApplicationError("oslo-turin does not answer", "unavailable", "details of oslo-turin")
	k := keys(t, secret(1))
	f := k.Failures().ErrorToFailure(failed)
	if raw, _ := proto.Marshal(f); bytes.Contains(raw, []byte("oslo")) || !bytes.Contains(raw, []byte("unavailable")) {
		t.Errorf("it can be read: %s", raw)
	}
	if back := k.Failures().FailureToError(f); !strings.Contains(back.Error(), "oslo-turin does not answer") {
		t.Errorf("it comes back as %v", back)
	}
	var none *sealing.Keys
	if raw, _ := proto.Marshal(none.Failures().ErrorToFailure(failed)); !bytes.Contains(raw, []byte("oslo")) {
		t.Error("a failure in clear was not found")
	}
}

func TestNamesTellNothing(t *testing.T) {
	k := keys(t, secret(1))
	if n := k.Name("mend-oslo-turin-4"); strings.Contains(n, "oslo") || n != k.Name("mend-oslo-turin-4") || n == k.Name("mend-oslo-turin-5") ||
		n == keys(t, secret(2)).Name("mend-oslo-turin-4") {
		t.Errorf("the name is %s", n)
	}
	var none *sealing.Keys
	if none.Name("a") != "a" {
		t.Error("without a key a name is as it is")
	}
}

func TestFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "codec")
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		kind    fault.Kind
		says    string
	}{
		"empty":              {"", 0o600, fault.Invalid, "there is no key in it"},
		"comments alone":     {"# none\n\n", 0o600, fault.Invalid, "there is no key in it"},
		"too short":          {secret(1) + "\n# old\nc2hvcnQ=\n", 0o600, fault.Invalid, "line 3: it is no key"},
		"no base64":          {"thisIsMySecret!\n", 0o600, fault.Invalid, "line 1: it is no key"},
		"the same twice":     {secret(1) + "\n" + secret(1), 0o600, fault.Invalid, "line 2: the key stands above"},
		"everybody may read": {secret(1), 0o644, fault.Refused, "chmod 0600"},
		"binary":             {strings.Repeat("\x00", 70000), 0o600, fault.Invalid, "too large"},
	} {
		if err := os.WriteFile(file, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := sealing.Read(file)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "thisIsMySecret") || strings.Contains(err.Error(), secret(1)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400, 0o440, 0o640} {
		_ = os.WriteFile(file, []byte(secret(1)+"\n"), 0o600)
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if k, err := sealing.Read(file); err != nil || !k.Seals() {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if _, err := sealing.Read(filepath.Join(dir, "none")); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "there is no ") {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := sealing.Read(dir); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
}

// FuzzFilesOfKeys wants a fault, or keys, of whatever stands in a file, and never the
// content in an error.
func FuzzFilesOfKeys(f *testing.F) {
	f.Add([]byte(secret(1) + "\n# c\n" + secret(2)))
	f.Add([]byte("x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := sealing.Parse(data)
		if err == nil && !k.Seals() || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%v, %v", k, err)
		}
	})
}

// FuzzOpening wants a fault of whatever Temporal hands out as sealed, and no panic.
func FuzzOpening(f *testing.F) {
	k, err := sealing.Parse([]byte(secret(1)))
	if err != nil {
		f.Fatal(err)
	}
	p, err := k.Converter().ToPayload("a")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Metadata["keyorch-key"], p.Data)
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, key, data []byte) {
		_, err := k.Decode([]*commonpb.Payload{{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte("binary/keyorch-sealed"), "keyorch-key": key}, Data: data,
		}})
		if fault.Of(err) == fault.Unknown && err != nil {
			t.Errorf("unclassified: %v", err)
		}
	})
}
