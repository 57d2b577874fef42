package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// selecting is the flags by which every verb that takes links chooses them, beside
// their names.
type selecting struct {
	campaign.Selection
}

func selectFlags(c *cobra.Command) *selecting {
	s := &selecting{}
	f := c.Flags()
	f.VarP(once(&s.Selector), "selector", "l", "links whose labels match, as in tier=core,region!=eu")
	f.Var(once(&s.NodeSelector), "node-selector", "links with a node whose labels match")
	f.Var(once(&s.SiteSelector), "site-selector", "links with a node at a site whose labels match")
	f.Var(once((*string)(&s.Site)), "site", "links with a node at this site")
	f.Var(once((*string)(&s.Node)), "node", "links of this node")
	f.Var(once(&s.Selection.Policy), "of-policy", "links that name this policy")
	f.BoolVar(&s.All, "all", false, "every link")
	return s
}

// of is the selection with the links named.
func (s *selecting) of(names []string) campaign.Selection {
	out := s.Selection
	for _, n := range names {
		out.Links = append(out.Links, keychain.LinkID(n))
	}
	return out
}

// given reports whether anything is selected.
func (s *selecting) given(names []string) bool {
	return len(names) > 0 || s.All || s.Site != "" || s.Node != "" || s.Selection.Policy != "" ||
		s.Selector != "" || s.NodeSelector != "" || s.SiteSelector != ""
}

// selected is the links that were chosen, or all that are declared or have a
// record when nothing was.
func (w *world) selected(s *selecting, names []string) ([]keychain.LinkID, error) {
	switch {
	case !s.given(names):
		return w.known(nil)
	case len(names) > 0 && !s.given(nil):
		return w.known(names)
	}
	return s.of(names).Resolve(w.view.Topology())
}

// policyFor is the policy by which links are rotated: the one asked for, the one
// that all of them name, or the default (empty).
func policyFor(t topology.Topology, asked string, links []keychain.LinkID) (string, error) {
	if asked != "" {
		if !slices.ContainsFunc(t.Policies, func(p topology.Policy) bool { return p.Name == asked }) {
			return "", fault.New(fault.Invalid, "--policy %s: none is declared under that name: see keyorch get policies", asked)
		}
		return asked, nil
	}
	common := ""
	for i, id := range links {
		l, _ := t.Link(id)
		if i > 0 && l.Policy != common {
			return "", nil
		}
		common = l.Policy
	}
	return common, nil
}

// onceFlag is a text that may be given once: the second would silently take the
// place of the first.
type onceFlag struct{ text *string }

func once(text *string) *onceFlag { return &onceFlag{text} }

// String and Type are for --help.
func (o *onceFlag) String() string {
	if o.text == nil {
		return ""
	}
	return *o.text
}

// Type is what --help calls it.
func (o *onceFlag) Type() string { return "string" }

// Set refuses a second value.
func (o *onceFlag) Set(s string) error {
	if *o.text != "" {
		return fault.New(fault.Invalid, "it is given twice, as %q and %q: use a selector for several", *o.text, s)
	}
	*o.text = s
	return nil
}
