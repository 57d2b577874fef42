package secrettest_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/secret/secrettest"
)

func TestEveryFormIsFound(t *testing.T) {
	c := secrettest.New(t)
	b := c.Bytes
	for form, text := range map[string]string{
		"raw":              "x" + string(b) + "x",
		"a part of it":     string(b[5:14]),
		"hex":              hex.EncodeToString(b),
		"hex, upper case":  strings.ToUpper(hex.EncodeToString(b)),
		"base64":           base64.StdEncoding.EncodeToString(b),
		"base64 for URLs":  base64.URLEncoding.EncodeToString(b),
		"base64, embedded": base64.StdEncoding.EncodeToString(append([]byte("ab"), b...)),
		"%v":               fmt.Sprintf("%v", b),
		"%#v":              fmt.Sprintf("%#v", b),
		"JSON numbers":     strings.ReplaceAll(fmt.Sprintf("%v", b), " ", ","),
	} {
		if c.Find([]byte(text)) == "" {
			t.Errorf("%s: not found", form)
		}
	}
}

func TestAnotherKeyIsNotFound(t *testing.T) {
	c, o := secrettest.New(t), secrettest.New(t)
	for _, text := range []string{"", string(o.Bytes), hex.EncodeToString(o.Bytes), fmt.Sprint(c.Key)} {
		if form := c.Find([]byte(text)); form != "" {
			t.Errorf("found as %s in %q", form, text)
		}
	}
}
