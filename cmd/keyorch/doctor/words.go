package doctor

import (
	"slices"
	"strings"
)

// words takes an error apart into what is wrong and how to mend it. Faults of keyorch
// end with an order to somebody: "…: run keyorch enroll". Where they do not, what they
// say is looked up.
func words(err error) (what, mend string) {
	what = err.Error()
	at := strings.LastIndex(what, ": ")
	for at > 0 {
		first, _, _ := strings.Cut(what[at+2:], " ")
		if slices.Contains(orders(), first) || strings.HasPrefix(what[at+2:], "is it the right") {
			return what[:at], what[at+2:]
		}
		next := strings.LastIndex(what[:at], ": ")
		if next < 0 {
			break
		}
		at = next
	}
	for _, r := range remedies() {
		if strings.Contains(what, r.says) {
			return what, r.mend
		}
	}
	return what, ""
}

// orders are the words with which faults of keyorch begin to say what to do.
func orders() []string {
	return []string{"run", "set", "check", "have", "compare", "use", "make", "give", "look", "start", "leave", "chmod", "enrol", "enroll", "mend", "allow", "unset"}
}

type remedy struct{ says, mend string }

// remedies are for what is said without saying what to do. The first that fits is
// given.
func remedies() []remedy {
	return []remedy{
		{"it is sealed", "unseal it: vault operator unseal, with as many keys as it asks for; then look why it was sealed"},
		{"it is not initialised", "initialise it: vault operator init, then unseal it and run keyorch bootstrap"},
		{"does not report its health", "look at Vault's log"},
		{"the token's policy does not allow it", "have the administrator run keyorch enroll for this identity, or keyorch bootstrap for a role that people share"},
		{"the token has ended", "log in again, or give this process a way to log in by itself (KEYORCH_VAULT_AUTH)"},
		{"a standby and forwards nothing", "use the address of the active node, or a load balancer that asks sys/health"},
		{"connection refused", "start the server, or check its address"},
		{"no such host", "check the name in the address"},
		{"no answer", "start the server, or check its address and what lies between: firewalls, NetworkPolicies"},
		{"does not answer", "start the server, or check its address and what lies between: firewalls, NetworkPolicies"},
		{"context deadline exceeded", "look at the server's load and log, and at what lies between"},
		{"does not allow it", "have the administrator run keyorch enroll for this identity, or keyorch bootstrap for a role that people share"},
	}
}
