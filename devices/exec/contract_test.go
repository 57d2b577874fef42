package exec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

func contractPage(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "exec-contract.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func TestTheRequestIsTheOneInTheContract(t *testing.T) {
	var b []byte
	for i := range byte(keySize) {
		b = append(b, i)
	}
	r := request{
		Contract: contract, Op: opInstall, Role: roleDownstream, Link: "dc1-dc2", Node: "dc2-spine1",
		Turn: 7, Epoch: 4, KCV: "a1b2c3d4e5", Params: json.RawMessage(`{"port":"eth0"}`),
	}
	got, err := encode(r, secret.New(b))
	if err != nil || !strings.Contains(contractPage(t), "\n"+string(got)) {
		t.Errorf("the contract does not show this request (%v):\n%s", err, got)
	}
	got, err = encode(request{Contract: contract, Op: opObserve, Role: roleUpstream, Link: "l", Node: "n"}, secret.Key{})
	if want := `{"contract":1,"op":"observe","role":"upstream","link":"l","node":"n","params":{}}` + "\n"; err != nil || string(got) != want {
		t.Errorf("observe: %s (%v), want %s", got, err, want)
	}
}

func TestTheAnswerInTheContractIsRead(t *testing.T) {
	page := contractPage(t)
	start := strings.Index(page, `{"accepts":[{"epoch":3`)
	line, _, _ := strings.Cut(page[max(start, 0):], "\n")
	down, err := decode([]byte(line), roleDownstream)
	if err != nil || fmt.Sprint(down.accepts) != "[3 (0f1e2d3c4b) 4 (a1b2c3d4e5)]" || !maps.Equal(down.packets, map[keychain.Epoch]uint64{3: 812, 4: 0}) {
		t.Errorf("downstream: %v (%v)", down, err)
	}
	up, err := decode([]byte(line), roleUpstream)
	if err != nil || up.sends.String() != "3 (0f1e2d3c4b)" || up.accepts != nil {
		t.Errorf("upstream: %v (%v)", up, err)
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct{ role, printed, want string }{
		{roleUpstream, `{}`, ""},
		{roleUpstream, " \n{\"sends\":null}\n\n", ""},
		{roleUpstream, `{"sends":{"epoch":0,"kcv":""}}`, ""},
		{roleUpstream, `{"version":"9","accepts":"what","sends":{"epoch":1,"kcv":"0123456789","since":"x"}}`, ""},
		{roleDownstream, `{"accepts":[],"sends":7}`, ""},
		{roleDownstream, ``, "it printed nothing"},
		{roleDownstream, `[]`, "not a JSON object"},
		{roleDownstream, `null`, "not a JSON object"},
		{roleDownstream, `{"accepts":[`, "not a JSON object"},
		{roleDownstream, `{} {}`, "something after"},
		{roleDownstream, `{} x`, "something after"},
		{roleDownstream, `{"accepts":{}}`, `"accepts" is not a list`},
		{roleDownstream, `{"accepts":[{"epoch":-1,"kcv":"0123456789"}]}`, `"accepts" is not a list`},
		{roleDownstream, `{"accepts":[{"kcv":"0123456789"}]}`, `"accepts"[0] has no epoch`},
		{roleDownstream, `{"accepts":[{"epoch":1,"kcv":"012345678G"}]}`, `"accepts"[0].kcv: a KCV is 10`},
		{roleDownstream, `{"accepts":[{"epoch":1,"kcv":"0123456789"},{"epoch":1,"kcv":"0123456789"}]}`, "epoch 1 twice"},
		{roleUpstream, `{"sends":3}`, `"sends" is not`},
		{roleUpstream, `{"sends":{"epoch":3}}`, `"sends".kcv: a KCV is 10`},
		{roleUpstream, `{"counters":{"0":{"packets":1}}}`, `"counters" is not`},
		{roleUpstream, `{"counters":{"a":{"packets":1}}}`, `"counters" is not`},
		{roleUpstream, `{"counters":[]}`, `"counters" is not`},
	} {
		_, err := decode([]byte(c.printed), c.role)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.printed, err, c.want)
		}
	}
}

func TestDecodeNeverQuotes(t *testing.T) {
	canary := "c2VjcmV0LWtleS1ieXRlcw"
	for _, printed := range []string{
		canary, `{"accepts":"` + canary + `"}`, `{"accepts":[{"epoch":"` + canary + `"}]}`,
		`{"accepts":[{"epoch":1,"kcv":"` + canary + `"}]}`, `{"counters":{"` + canary + `":{}}}`, `{} ` + canary,
	} {
		if _, err := decode([]byte(printed), roleDownstream); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", printed, err)
		}
	}
}

func TestFieldsOfTheTopology(t *testing.T) {
	caps, err := Capabilities(map[string]any{"command": []any{"gear.py"}})
	if want := (keychain.Capabilities{AcceptMany: 2, SwitchSeparate: true}); err != nil || caps != want {
		t.Errorf("by default: %+v (%v), want %+v", caps, err, want)
	}
	c, err := read(map[string]any{
		"command": []string{"gear.py", "n1"}, "timeout": "5s", "env": map[string]string{"A": "b"},
		"params": map[string]any{"a": 1}, "acceptMany": 8, "switchSeparate": false, "survives": true, "counterBound": true,
	})
	if err != nil || c.timeout != 5*time.Second || c.env["A"] != "b" || string(c.params) != `{"a":1}` ||
		c.capabilities != (keychain.Capabilities{AcceptMany: 8, Survives: true, CounterBound: true}) {
		t.Errorf("%+v (%v)", c, err)
	}
	for _, c := range []struct {
		fields map[string]any
		want   []string
	}{
		{nil, []string{"command: it is missing"}},
		{map[string]any{"command": "gear.py"}, []string{`command: "gear.py" is not a list of texts`}},
		{map[string]any{"command": []any{"x", 7}}, []string{"command[1]: 7 is not a text: put it in quotes"}},
		{map[string]any{"command": []any{""}}, []string{"command[0]: the name of the program is empty"}},
		{map[string]any{"command": []any{"x\x00"}}, []string{"a NUL character"}},
		{map[string]any{"tiemout": "3s", "timeout": "0s", "command": []any{"x"}}, []string{
			"tiemout: no such field: a device of kind exec has acceptMany, command, counterBound, env, params, survives, switchSeparate, timeout",
			"timeout: \"0s\" is not a duration from 1ms to 1h0m0s",
		}},
		{map[string]any{"command": []any{"x"}, "env": map[string]any{"A": 1}}, []string{"env.A: 1 is not a text"}},
		{map[string]any{"command": []any{"x"}, "env": map[string]any{"A=B": "1"}}, []string{`env: "A=B" cannot be set`}},
		{map[string]any{"command": []any{"x"}, "params": "x"}, []string{`params: "x" is not a map of fields`}},
		{map[string]any{"command": []any{"x"}, "params": map[string]any{"x": strings.Repeat("x", maxParams)}}, []string{"bytes as JSON, at most"}},
		{map[string]any{"command": []any{"x"}, "acceptMany": 1.5, "survives": "no"}, []string{"acceptMany: 1.5 is not a whole number", `survives: "no" is neither`}},
	} {
		_, err := New("n1", c.fields)
		for _, want := range c.want {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%v: %v, want %q", c.fields, err, want)
			}
		}
	}
}

func TestTheMessageIsOneCleanLine(t *testing.T) {
	k := secret.New(bytes.Repeat([]byte{1}, keySize))
	for stderr, want := range map[string]string{
		"":                           ", and did not say why",
		"\n \t\n":                    ", and did not say why",
		"first\nsecond":              ": first",
		"\r\n\x1b[31mred\x1b[0m\tx ": ": [31mred[0m x",
		"bad \xff utf-8 é":           ": bad  utf-8 é",
		strings.Repeat("x", 400):     ": " + strings.Repeat("x", maxMessage),
		"an older key " + strings.Repeat("Ab", 32) + " here":                                     ": an older key [redacted] here",
		"an older key " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)) + " hm": ": an older key [redacted] hm",
		"cannot open /usr/local/lib/python3/site-packages/some/long/path/gear.py: permission":    ": cannot open /usr/local/lib/python3/site-packages/some/long/path/gear.py: permission",
	} {
		if got := said([]byte(stderr), k); got != want {
			t.Errorf("%q: %q, want %q", stderr, got, want)
		}
	}
}

// The teeth of the redaction: without it the key is found.
func TestWithoutRedactionTheKeyIsFound(t *testing.T) {
	b := []byte("0123456789abcdefghijklmnopqrstuv")
	k := secret.New(bytes.Clone(b))
	line := "bad key " + base64.StdEncoding.EncodeToString(b)
	if !holds(firstLine([]byte(line)), b) {
		t.Error("a key is not found in a line that holds it")
	}
	if holds(said([]byte(line), k), b) {
		t.Error("a key is found in a line that was redacted")
	}
}

func TestTheRequestIsClearedAfterUse(t *testing.T) {
	b := bytes.Repeat([]byte{7}, keySize)
	in, err := encode(request{Op: opInstall}, secret.New(b))
	if err != nil || cap(in) < len(in) {
		t.Fatal(err)
	}
	d, err := New("n1", map[string]any{"command": []any{"/bin/cat"}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/cat")
	fed, err := d.start(t.Context(), cmd, opInstall, in)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	fed()
	if len(bytes.Trim(in, "\x00")) != 0 {
		t.Error("the buffer still holds the request")
	}
}
