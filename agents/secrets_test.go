package agents

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/store"
)

func wiped(k secret.Key) bool {
	clear := true
	_ = k.Use(func(b []byte) error {
		clear = bytes.Equal(b, make([]byte, len(b)))
		return nil
	})
	return clear
}

// canary is the key that the world minted for theLink under epoch 3.
func (w *world) canary() secrettest.Canary {
	w.want(theLink, 3)
	return secrettest.Canary{Bytes: w.keys["vault:v1:dc1-dc2/3"]}
}

func TestNoKeyBytesInLogsOrReports(t *testing.T) {
	for name, form := range map[string]func([]byte) string{
		"a device that says nothing":         func([]byte) string { return "no" },
		"a device that repeats the key":      func(b []byte) string { return "bad key " + string(b) },
		"a device that repeats it in hex":    func(b []byte) string { return "bad key " + strings.ToUpper(hex.EncodeToString(b)) },
		"a device that repeats it in base64": func(b []byte) string { return `{"key":"` + base64.StdEncoding.EncodeToString(b) + `"}` },
		"a device that repeats a part of it": func(b []byte) string { return "bad key " + hex.EncodeToString(b[7:20]) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := w.device("n1")
				c := w.canary()
				message := form(c.Bytes)
				w.effect = func(what string, after bool) error {
					if what == "switch" {
						return fault.New(fault.Unavailable, "%s", message)
					}
					return nil
				}
				a := w.start(t.TempDir(), d.node())
				w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
				o := w.reported("n1", theLink, withFault(fault.Unavailable))
				time.Sleep(time.Hour)
				w.change(func() { w.effect = nil })
				w.reported("n1", theLink, atTurn(1))
				a.stop()
				doc, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				c.Absent(t, "a report", string(doc))
				c.Absent(t, "the log", w.logs.String())
				if w.logs.Len() == 0 {
					t.Error("nothing was logged")
				}
				// Teeth: what the device said would be found.
				if message != "no" && c.Find([]byte(message)) == "" {
					t.Error("the search finds nothing in what the device said")
				}
				for _, k := range w.opened {
					if !wiped(k) {
						t.Error("a key was not wiped at the end")
					}
				}
			})
		})
	}
}

func TestAKeyIsOpenedOnceAndWipedWhenNoOrderNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one, two := w.device("n1"), w.device("n2")
		a := w.start(t.TempDir(), one.node(), two.node())
		defer a.stop()
		order := func(turn keychain.Turn, epochs ...keychain.Epoch) {
			for _, n := range []keychain.NodeID{"n1", "n2"} {
				w.order(store.Order{Node: n, Link: theLink, Turn: turn, Accept: w.wants(theLink, epochs...)})
			}
			for _, n := range []keychain.NodeID{"n1", "n2"} {
				w.reported(n, theLink, atTurn(turn))
			}
		}
		order(1, 3)
		order(2, 3, 4)
		synctest.Wait()
		if len(w.opened) != 2 || wiped(w.opened[0]) || wiped(w.opened[1]) {
			t.Errorf("opened %d keys", len(w.opened))
		}
		order(3, 4)
		synctest.Wait()
		if !wiped(w.opened[0]) || wiped(w.opened[1]) {
			t.Error("epoch 3 was not wiped, or epoch 4 was")
		}
	})
}

func TestMessagesFitOneLine(t *testing.T) {
	got := oneLine("first\nsecond\t\x1b[31mred\x00\xff " + strings.Repeat("é", 400))
	if strings.ContainsAny(got, "\n\t\x1b\x00") || len(got) > maxMessage || !strings.HasPrefix(got, "first second [31mred") {
		t.Errorf("%q", got)
	}
}

// TestAKeyThatIsWrappedAnewStaysOpen gives an order again with its keys wrapped under
// another version of their KEK: nothing is opened and no device is touched, and what the
// device loses is put back although Vault is away.
func TestAKeyThatIsWrappedAnewStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		o := store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)}
		w.order(o)
		w.reported("n1", theLink, atTurn(1))
		synctest.Wait()
		unwraps, touched := w.count(&w.unwraps), 0
		w.change(func() {
			w.vaultAway = true
			w.effect = func(string, bool) error { touched++; return nil }
		})
		o.Accept = slices.Clone(o.Accept)
		o.Accept[0].Wrapped.Ciphertext, o.Send.Wrapped.Ciphertext = "vault:v2:anew", "vault:v2:anew"
		w.order(o)
		synctest.Wait()
		if n := w.count(&w.unwraps) - unwraps; n != 0 || touched != 0 || wiped(w.opened[0]) {
			t.Errorf("%d requests to vault, %d effects, the key is wiped: %v", n, touched, wiped(w.opened[0]))
		}
		d.reboot()
		if !w.until(t.Context(), func() bool { return d.port(theLink).accepts[3] != "" }) {
			t.Error("the key was not put back")
		}
		if n := w.count(&w.unwraps) - unwraps; n != 0 {
			t.Errorf("vault was asked %d times", n)
		}
	})
}
