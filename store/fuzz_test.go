package store

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// seeds are one good document of each folder, and what a person or an attacker may
// have made of them.
var seeds = [][2]string{
	{"/links/dc1-dc2", `{"record":{"link":"dc1-dc2","state":{"phase":"steady","turn":7,"upstream":["a"],"downstream":["b"],"from":{"epoch":3,"kcv":"0f1e2d3c4b","serial":2}}},"keys":{"3":{"kek":"keyorch-site-dc2","ciphertext":"vault:v1:c2VjcmV0"}},"sites":{"a":"dc1","b":"dc2"}}`},
	{"/links/dc1-dc2", `{"record":{"link":"dc1-dc2"},"keys":{"x":{}}}`},
	{"/orders/dc2/b/dc1-dc2", `{"site":"dc2","node":"b","link":"dc1-dc2","turn":7,"accept":[{"epoch":3,"serial":2,"wrapped":{"kek":"k","ciphertext":"vault:v1:c2VjcmV0"}}],"send":{"epoch":3,"serial":2,"wrapped":{"kek":"k","ciphertext":"vault:v1:c2VjcmV0"}}}`},
	{"/orders/dc2/b/dc1-dc2", `{"site":"dc2","node":"b","link":"other","turn":18446744073709551615}`},
	{"/observations/dc2/b/dc1-dc2", `{"site":"dc2","link":"dc1-dc2","node":"b","turn":7,"accepts":[{"epoch":3,"kcv":"0f1e2d3c4b"}],"lost":[1],"started":[3],"fault":"unavailable","message":"no answer","since":"2026-11-28T12:00:00Z","counters":[{"epoch":3,"packets":9}]}`},
	{"/observations/dc2/b/dc1-dc2", `{"site":"dc1","link":"dc1-dc2","node":"x","turn":-1}`},
	{"/observations/dc2/b/\x1b[2Jdc1", `{"link":`},
	{"/agents/dc2/b", `{"instance":"i","version":"v","capabilities":{"acceptMany":2}}`},
	{"/agents/dc2/b", `[]`},
	{"/campaigns/nightly-1", `{"name":"nightly-1","links":["dc1-dc2"],"began":"2026-11-28T12:00:00Z"}`},
	{"/denials/nightly-1/dc1-dc2", `{"link":"dc1-dc2","why":"no quorum"}`},
	{"/waves/nightly-1/000001", `{"number":1,"links":["dc1-dc2"]}`},
	{"/past/dc1-dc2/00000000000000000007", `{"link":"dc1-dc2","turn":7}`},
	{"/maintenance/dc2", `{"site":"dc2","reason":"x","until":"2026-11-28T12:00:00Z"}`},
	{"/exclusions/node/b", `{"node":"b","reason":"stolen"}`},
	{"/exclusions/site/dc2", `{"node":"b","site":"dc2"}`},
	{"/topology/site/dc1", `{"apiVersion":"keyorch/v1","kind":"Site","metadata":{"name":"dc1"},"spec":{}}`},
	{"/topology/link/l", `{"apiVersion":"keyorch/v1","kind":"Link","metadata":{"name":"l"},"spec":{"upstream":["a"],"downstream":["b"]}}`},
	{"/topology/policy/p", `{"apiVersion":"keyorch/v1","kind":"Policy","metadata":{"name":"p"},"spec":{"quorum":"50%","windows":[{"from":"22:00","to":"04:00"}]}}`},
	{"/topology/link/l", strings.Repeat(`{"a":`, 10000)},
	{"/topology/node/dc2/b", `{"apiVersion":"keyorch/v1","kind":"Node","metadata":{"name":"b"},"spec":{"site":"dc2","device":{"kind":"sim"}}}`},
	{"/enrolments/keyorch-agent.dc2", `{"identity":{"role":"keyorch-agent","site":"dc2","generation":1},"auth":"cert","at":"2026-11-28T12:00:00Z","by":"root","revoked_at":"2026-11-28T13:00:00Z"}`},
	{"/enrolments/keyorch-agent.dc2", `{"identity":{"role":"root","site":"dc2"}}`},
	{"/approvals/rules", `{"rules":[{"name":"r","verbs":["rules"],"approvals":1,"approvers":[{"name":"anna","keys":["ssh-ed25519 AAAA"]}],"deadline":3600000000000}],"since":"2026-11-28T12:00:00Z"}`},
	{"/approvals/rules", `{"rules":[]}`},
	{"/approvals/policies", `{"Policies":[{"apiVersion":"keyorch/v1","kind":"Policy","metadata":{"name":"p"},"spec":{"drain":"5s"}}],"Links":{"p":["l"]}}`},
	{"/approvals/requests/keyorch-operator.otto/ap-20261128-120000-0123456789abcdef", `{"plan":{"verb":"compromise","requester":"keyorch-operator.otto"},"at":"2026-11-28T12:00:00Z","expires":"2026-11-29T12:00:00Z"}`},
	{"/approvals/votes/keyorch-operator.anna/ap-20261128-120000-0123456789abcdef", `{"at":"2026-11-28T12:00:00Z","signature":"-----BEGIN SSH SIGNATURE-----"}`},
	{"/approvals/ended/ap-20261128-120000-0123456789abcdef", `{"id":"ap-20261128-120000-0123456789abcdef","state":"used","at":"2026-11-28T12:00:00Z","for":"campaign c"}`},
	{"/unheard-of/x", `{}`},
	{"", ``},
}

// key stands in a document where no key belongs: no error may show it.
const key = "kH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVaUeOiTnSrQlA="

// FuzzDocuments: whatever stands under a key in etcd, every reader gives it as a
// whole, or a Mismatch that names the key and shows nothing of the document. What is
// read is the same when it is written and read again. A View forgets all of it when
// the key is gone.
func FuzzDocuments(f *testing.F) {
	for _, s := range seeds {
		f.Add(DefaultPrefix+s[0], []byte(s[1]))
	}
	f.Add(DefaultPrefix+"/orders/dc2/b/l", []byte(`{"site":"`+key+`","node":5}`))
	f.Add(DefaultPrefix+"/topology/node/dc2/b", []byte(`{"apiVersion":"keyorch/v1","kind":"Node","metadata":{"name":"b"},"spec":{"site":"dc2","device":{"kind":"sim","psk":"`+key+`","psk":""}}}`))
	s := &Store{keys: layout{DefaultPrefix}}
	f.Fuzz(func(t *testing.T, at string, value []byte) {
		e := entry{key: at, value: value, mod: 5}
		if p, ok := s.keys.parse(at); ok {
			readAs(t, e, s.document)
			readAs(t, e, s.campaign)
			readAs(t, e, s.maintenance)
			readAs(t, e, s.exclusion)
			readAs(t, e, func(e entry) (campaign.Denial, error) { return s.denial(p.names[0], e) })
			readAs(t, e, func(e entry) (campaign.Batch, error) { return s.batch(p.names[0], e) })
			readAs(t, e, s.past)
			readAs(t, e, s.keys.ordered)
			readAs(t, e, s.enrolment)
			readAs(t, e, s.ended)
			if p.folder == inObservations { // a tenure lists nothing else
				readAs(t, e, (&Tenure{s: s, known: map[keychain.LinkID]known{}}).learn)
			}
			d := make(declared)
			complains(t, e, d.put(s.keys, e))
		}
		v := &View{s: s, declared: make(declared), broken: make(map[string]error)}
		v.forgetFacts()
		n := nothing()
		v.put(e, &n)
		complains(t, e, v.broken[at])
		v.put(e, &n) // the same again changes nothing
		v.remove(at, &n)
		if len(v.agents)+len(v.campaigns)+len(v.denials)+len(v.broken)+len(v.links) > 0 || !v.decided.empty() {
			t.Errorf("%q leaves something behind: %+v", at, v)
		}
	})
}

// readAs reads e, and again what it was read as.
func readAs[T any](t *testing.T, e entry, read func(entry) (T, error)) {
	t.Helper()
	got, err := read(e)
	if err != nil {
		complains(t, e, err)
		return
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatalf("%T of %q cannot be written: %v", got, e.value, err)
	}
	again, err := read(entry{key: e.key, value: text, mod: e.mod})
	if err != nil {
		t.Fatalf("%T of %q does not read back: %v", got, e.value, err)
	}
	if back, err := json.Marshal(again); err != nil || string(back) != string(text) {
		t.Errorf("%T of %q reads back as another: %s, %s", got, e.value, text, back)
	}
}

// complains wants no error, or one that says no more than the key.
func complains(t *testing.T, e entry, err error) {
	t.Helper()
	switch {
	case err == nil:
	case !fault.Is(err, fault.Mismatch):
		t.Errorf("%q: %v is no Mismatch", e.key, err)
	case err.Error() != broken(e.key).Error():
		t.Errorf("%q: says %q", e.key, err)
	case strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }):
		t.Errorf("%q: says %q, which a terminal acts on", e.key, err)
	}
}

// FuzzKeys: a key that is read names what it was made of.
func FuzzKeys(f *testing.F) {
	for _, s := range seeds {
		f.Add(DefaultPrefix + s[0])
	}
	l := layout{DefaultPrefix}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := l.parse(text)
		if !ok {
			return
		}
		if again := l.root + "/" + p.folder + "/" + strings.Join(p.names, "/"); again != text {
			t.Errorf("%q is read as %q", text, again)
		}
		for _, name := range p.names {
			if strings.Contains(name, "/") {
				t.Errorf("%q has the name %q", text, name)
			}
		}
		if again, ok := l.parse(text); !ok || !reflect.DeepEqual(again, p) {
			t.Errorf("%q is read as %v and %v", text, p, again)
		}
	})
}
