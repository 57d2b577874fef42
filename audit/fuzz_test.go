package audit_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

// FuzzVerify: no export that differs from a good one by anything is verified with the
// good one's key, and none has verify fail in another way than by an Invalid or a Mismatch.
func FuzzVerify(f *testing.F) {
	w := filled(f, 12)
	good := w.export()
	f.Add(0, 0, []byte{})
	f.Add(len(good)/2, 40, []byte(`{"seq":5,`))
	f.Add(len(good)-1, 1, []byte{})
	f.Add(0, len(good), []byte(`{"keyorchAudit":{"format":1}}`+"\n"))
	f.Add(0, len(good), bytes.Replace(good, []byte(`"seq":3,`), []byte(`"seq":03,`), 1))
	keys := w.signer.keys()
	f.Fuzz(func(t *testing.T, at, cut int, put []byte) {
		if at < 0 || at > len(good) || cut < 0 || cut > len(good)-at {
			return
		}
		data := append(append(append([]byte{}, good[:at]...), put...), good[at+cut:]...)
		proof, err := audit.Verify(bytes.NewReader(data), audit.Question{Keys: keys})
		switch {
		case err == nil && !sameButHeader(data, good):
			t.Fatalf("an export that was changed at %d is verified: %+v", at, proof)
		case err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Mismatch):
			t.Fatalf("it fails with %v", err)
		}
	})
}

// sameButHeader reports whether two exports have the same lines behind the header, which nobody
// signs.
func sameButHeader(a, b []byte) bool {
	_, restA, _ := bytes.Cut(a, []byte("\n"))
	_, restB, _ := bytes.Cut(b, []byte("\n"))
	return bytes.Equal(restA, restB)
}

// FuzzBlock: whatever stands where a block should, it is a Mismatch or a block that comes out
// the same when it is written and read again.
func FuzzBlock(f *testing.F) {
	good := audit.Block{Segment: audit.Segment{Number: 1, ID: "x", First: 1}, First: 1, Bodies: [][]byte{[]byte(`{"kind":"phase"}`), []byte(`{}`)}}
	doc, err := good.Encode()
	must(f, err)
	f.Add(doc)
	f.Add([]byte(`{"v":1,"segment":{"number":1,"id":"","first":1,"at":"0001-01-01T00:00:00Z"},"first":18446744073709551615,"count":1}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := audit.DecodeBlock(data)
		if err != nil {
			if !fault.Is(err, fault.Mismatch) {
				t.Fatal(err)
			}
			return
		}
		_ = b.Check()
		again, err := b.Encode()
		must(t, err)
		same, err := audit.DecodeBlock(again)
		if err != nil || !reflect.DeepEqual(same.Bodies, b.Bodies) || same.First != b.First || same.After != b.After {
			t.Fatalf("it is read back as %+v, %v", same, err)
		}
	})
}

// FuzzInbox: whatever somebody writes into their inbox, what enters the chain are lines of
// JSON that say whose they are, and no more of them than were written, or that there was something.
func FuzzInbox(f *testing.F) {
	f.Add([]byte(`[{"kind":"operator","by":"root","details":{"a":"b"}}]`))
	f.Add([]byte(`[{}`))
	f.Add([]byte(strings.Repeat(`[`, 100000)))
	f.Add([]byte(`[{"verb":"\u2028\ud800\n"},null,{"at":"9999-12-31T23:59:59Z"}]`))
	f.Fuzz(func(t *testing.T, value []byte) {
		bodies := audit.Bodies(audit.Waiting{Writer: "keyorch-agent.x", Value: value, Revision: 7})
		if len(bodies) > 1+bytes.Count(value, []byte(",")) {
			t.Fatalf("%d records were made of %q", len(bodies), value)
		}
		for _, body := range bodies {
			var r audit.Record
			if bytes.Contains(body, []byte("\n")) || json.Unmarshal(body, &r) != nil || r.By != "keyorch-agent.x" || r.Revision != 7 {
				t.Fatalf("the record is %s", body)
			}
		}
		b := audit.Block{First: 1, Bodies: bodies}
		if len(bodies) == 0 {
			return // nothing was written
		}
		doc, err := b.Encode()
		must(t, err)
		if _, err := audit.DecodeBlock(doc); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzKeys: what is read as keys is written and read as the same.
func FuzzKeys(f *testing.F) {
	pem, err := newSigner(f).keys().PEM()
	must(f, err)
	f.Add(pem)
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nVersion: 1\n\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := audit.ParseKeys(data)
		if err != nil {
			return
		}
		pem, err := keys.PEM()
		must(t, err)
		again, err := audit.ParseKeys(pem)
		if err != nil || !reflect.DeepEqual(again, keys) {
			t.Fatalf("read back as %v, %v", again, err)
		}
		_, _ = json.Marshal(keys)
	})
}
