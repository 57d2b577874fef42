package topology

import (
	"fmt"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// wrongWord explains a word that is none of those that are allowed.
func wrongWord(def string, k *kind.Enum, value any) (message, hint string) {
	word, _ := value.(string)
	allowed := make([]string, 0, len(k.Want))
	for _, w := range k.Want {
		if w, ok := w.(string); ok {
			allowed = append(allowed, w)
		}
	}
	switch def {
	case "day":
		return fmt.Sprintf("%s is not a day", show(value)), "the days are " + list(allowed)
	case "approvalVerb":
		return fmt.Sprintf("%s is nothing that could need approvals", show(value)), "the verbs are " + list(allowed)
	case "onSpent":
		return fmt.Sprintf("%s is nothing that a campaign does", show(value)), "write pause or abort"
	}
	if message, hint := wrongWebhookWord(def, word, allowed, value); message != "" {
		return message, hint
	}
	return fmt.Sprintf("there is no kind %s", show(value)), kindHint(word, kindNames)
}

// outOfRange explains a number that is too small or too large.
func outOfRange(def string, value any) (message, hint string) {
	switch def {
	case "percent":
		return fmt.Sprintf("%s %% is not above 0 and up to 100", show(value)), "write a percentage as in 10"
	case "quorum":
		return fmt.Sprintf("%s is not a number of nodes that is enough", show(value)), "write at least 1, or leave the field out to wait for all"
	case "approvalCount":
		return fmt.Sprintf("%s is not a number of approvals from 1 to 100", show(value)), "write how many people have to sign, as in 2"
	case "linkCount":
		return fmt.Sprintf("%s is not a number of links from 1 to %d", show(value), MaxNumber), "write how many links have been taken up after the wave, as in 5"
	}
	if _, message, hint = parseAmount(show(value)); message == "" {
		message, hint = show(value)+" is out of range", "write at most "+strconv.Itoa(MaxNumber)
	}
	return message, hint
}

// refusedPolicyText explains a text of a policy that does not have the form of
// its definition.
func refusedPolicyText(def, text string) (message, hint string) {
	switch def {
	case "amount", "quorum":
		if _, message, hint = parseAmount(text); message == "" {
			message, hint = fmt.Sprintf("%q is not an amount as it is written here", text), `write it as in 5 or "10%"`
		}
		return message, hint
	case "publicKey":
		return "a public key is one line of at most 4096 characters", "put in what the .pub file has"
	case "zone":
		return fmt.Sprintf("%q is not the name of a time zone", text), "write an IANA name, as in Europe/Berlin or UTC"
	case "clock", "clockEnd":
		return fmt.Sprintf("%q is not a time of day", text), `write hours and minutes with two digits each, as in "06:30"`
	case "date":
		return fmt.Sprintf("%q is not a date", text), "write it as in 2026-12-20 or 2026-12-20T18:00"
	case "selector":
		return fmt.Sprintf("the selector must be one line of at most %d characters", MaxSelector), "shorten it"
	case "cron":
		return fmt.Sprintf("%q is not a schedule of five fields", text),
			`write minute, hour, day of the month, month and day of the week, as in "0 2 * * *"`
	}
	return "", ""
}
