package topology

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/keyorch/keyorch/fault"
)

// MaxNumber is the largest Number of an Amount.
const MaxNumber = 1_000_000

var amountForm = regexp.MustCompile(`^([0-9]+|[0-9]+(\.[0-9]+)?%)$`)

// ParseAmount reads a whole number up to MaxNumber, "5", or a share from 0 to
// 100 percent, "10%" or "2.5%". Nothing, of either sort, is the zero Amount.
// The error is of kind Invalid.
func ParseAmount(s string) (Amount, error) {
	a, message, hint := parseAmount(s)
	if message != "" {
		return Amount{}, fault.New(fault.Invalid, "%s: %s", message, hint)
	}
	return a, nil
}

// parseAmount reads an amount, or says why it is none.
func parseAmount(s string) (a Amount, message, hint string) {
	if rest, negative := strings.CutPrefix(s, "-"); negative && amountForm.MatchString(rest) {
		return Amount{}, "an amount cannot be negative: " + s, `write a number or a percentage, as in 5 or "10%"`
	}
	if !amountForm.MatchString(s) {
		return Amount{}, strconv.Quote(s) + " is neither a number nor a percentage", `write it as in 5 or "10%"`
	}
	if share, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(share, 64)
		if err != nil || p > 100 {
			return Amount{}, s + " is more than the whole", `write at most "100%"`
		}
		return Amount{Percent: p}, "", ""
	}
	n, err := strconv.Atoi(s)
	if err != nil || n > MaxNumber {
		return Amount{}, s + " is too large a number", "write at most " + strconv.Itoa(MaxNumber)
	}
	return Amount{Number: n}, "", ""
}

// String is the amount as ParseAmount reads it; the zero Amount is "0".
func (a Amount) String() string {
	if a.Percent != 0 {
		return strconv.FormatFloat(a.Percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(a.Number)
}

// IsZero reports whether a is none.
func (a Amount) IsZero() bool { return a == Amount{} }

// rounding is what a count by shares may be off for being a binary number.
const rounding = 1e-9

// Of is how many of total a means, for waves and quorums: never more than total.
// A share is rounded up, so that it is at least one of a whole that is not empty.
func (a Amount) Of(total int) int {
	n := a.Number
	if a.Percent > 0 {
		n = int(math.Ceil(a.Percent*float64(total)/100 - rounding))
		if n == 0 && total > 0 {
			n = 1
		}
	}
	return max(0, min(n, total))
}

// Within reports whether failed of total are inside a, for budgets. What equals
// it is; the zero Amount allows none.
func (a Amount) Within(failed, total int) bool {
	if a.Percent > 0 {
		return float64(failed)*100 <= a.Percent*float64(total)+rounding
	}
	return failed <= a.Number
}
