package cli

import (
	"slices"
	"testing"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
)

// Of somebody's keys the first is taken that ssh-agent has, those before the others that more
// of the rules list.
func TestWhichKeyOfTheAgentSigns(t *testing.T) {
	file, token, spare := approvaltest.Ed25519(t).Line(), approvaltest.SK(t, approvaltest.Touched).Line(), approvaltest.Ed25519(t).Line()
	rule := func(name string, keys ...string) approval.Rule {
		return approval.Rule{Name: name, Approvers: []approval.Approver{{Name: "ben", Keys: []string{spare}}, {Name: "anna", Keys: keys}}}
	}
	both := []approval.Rule{rule("one", file, token), rule("two", token)}
	if got, want := keysOf(both, "anna"), []string{token, file}; !slices.Equal(got, want) {
		t.Errorf("anna has the keys %q, want %q", got, want)
	}
	if got := keysOf(both, "carl"); got != nil {
		t.Errorf("carl has the keys %q", got)
	}
	for name, c := range map[string]struct {
		held []string
		want string
	}{
		"none":                         {nil, ""},
		"one of somebody else":         {[]string{spare}, ""},
		"one":                          {[]string{spare, file}, file},
		"both, in another order":       {[]string{file, spare, token}, token},
		"with another comment":         {[]string{file + " anna@laptop"}, file},
		"and something that is no key": {[]string{"", "ssh-ed25519", file}, file},
	} {
		if got, ok := firstHeld(keysOf(both, "anna"), c.held); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q signs, want %q", name, got, c.want)
		}
	}
}
