package notify

import (
	"reflect"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/topology"
)

// FuzzOutbox: no document makes Decode panic, and what it takes it gives back under the
// same key.
func FuzzOutbox(f *testing.F) {
	told, _ := toldDocument(Told{Event: event(0), First: noon(), To: []string{"chat"}})
	notice, _ := noticeDocument(Notice{Webhook: "chat", Number: 7, Event: event(1), Queued: noon()})
	how, _ := receiverDocument("chat", Receiver{Delivered: 3, Error: "x"})
	for _, d := range []Document{told, notice, how, {headKey, []byte(`{"since":{"a":"2026-11-02T12:00:00Z"},"numbers":{"a":3}}`)},
		{"queue/a/1", []byte("{}")}, {"queue//00000000000000000001", []byte("{}")}, {"told/", []byte("null")}, {"receivers/", []byte("null")}, {"head", []byte("[]")}} {
		f.Add(d.Key, d.Value)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		got := Decode([]Document{{key, value}})
		var again []Document
		for _, told := range got.Memory.Told {
			d, err := toldDocument(told)
			if err != nil || d.Key != key {
				t.Errorf("%q comes out as %q: %v", key, d.Key, err)
			}
			again = append(again, d)
		}
		for _, notices := range got.Queue {
			for _, n := range notices {
				d, err := noticeDocument(n)
				if err != nil || d.Key != key {
					t.Errorf("%q comes out as %q: %v", key, d.Key, err)
				}
				again = append(again, d)
			}
		}
		if len(again) == 0 {
			return
		}
		if twice := Decode(again); !reflect.DeepEqual(twice.Memory, got.Memory) || !reflect.DeepEqual(twice.Queue, got.Queue) {
			t.Errorf("read again it is\n%+v\nwas\n%+v", twice, got)
		}
	})
}

// FuzzSecrets: no file with a secret makes the reading panic, a refusal shows nothing of
// it, and nothing is sent to a URL that is neither https nor of this machine.
func FuzzSecrets(f *testing.F) {
	for _, s := range []string{signingSecret, "whsec_", "https://h.example/x", "http://h.example", "http://127.0.0.1:1/", routingKey, "a b", "\xff", "https://u:p@h.example", "https://h.example/#x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := signingKeys(s)
		const enough = 8
		if err != nil && len(s) > enough && strings.Contains(err.Error(), s) {
			t.Errorf("says %v", err)
		}
		if topology.CheckURL(s) == nil && !strings.HasPrefix(strings.ToLower(s), "https://") && !strings.HasPrefix(strings.ToLower(s), "http://") {
			t.Errorf("%q is taken for a URL", s)
		}
		if n := len([]rune(cut(s, enough))); n > enough {
			t.Errorf("%q is cut to %d", s, n)
		}
	})
}
