package tui

import (
	"slices"
	"strings"
	"unicode"
)

// longest is how many runes of one text are looked at.
const longest = 2000

// clean makes one harmless line of what a device or an operator wrote: control
// characters, escapes, line breaks and invisible marks become a space.
func clean(s string) string {
	var b strings.Builder
	gap, n := false, 0
	for _, r := range s {
		if n++; n > longest {
			break
		}
		if r == unicode.ReplacementChar || r == ' ' || !unicode.IsPrint(r) || unicode.Is(unicode.Variation_Selector, r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// cleaned is the gateway for everything that is shown: behind it no text of a
// screen holds what a terminal could take for a command, or a second line.
func cleaned(s Screen) Screen {
	if s.Campaign != nil {
		c := *s.Campaign
		for _, text := range []*string{&c.Name, &c.Kind, &c.State, &c.Reason, &c.Policy} {
			*text = clean(*text)
		}
		s.Campaign = &c
	}
	s.Waves = slices.Clone(s.Waves)
	for i := range s.Waves {
		s.Waves[i].Name = clean(s.Waves[i].Name)
	}
	s.Phases = slices.Clone(s.Phases)
	for i := range s.Phases {
		s.Phases[i].Name = clean(s.Phases[i].Name)
	}
	s.Held = slices.Clone(s.Held)
	for i := range s.Held {
		for _, text := range []*string{&s.Held[i].Link, &s.Held[i].Phase, &s.Held[i].Node, &s.Held[i].Reason} {
			*text = clean(*text)
		}
	}
	for _, text := range []*string{&s.Fleet.LastCampaign, &s.Fleet.LastEnd, &s.Fleet.NextCampaign} {
		*text = clean(*text)
	}
	s.Absent, s.Messages = slices.Clone(s.Absent), slices.Clone(s.Messages)
	for _, list := range [][]string{s.Absent, s.Messages} {
		for i := range list {
			list[i] = clean(list[i])
		}
	}
	return s
}
