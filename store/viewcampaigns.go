package store

import (
	"cmp"
	"maps"
	"slices"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// decided is what stands for a time, by key.
type decided struct {
	maintenance map[string]topology.Maintenance
	exclusions  map[string]topology.Exclusion
	// made is made from the two when it is asked for, until then nil.
	made *topology.Standing
}

func (d *decided) empty() bool { return len(d.maintenance) == 0 && len(d.exclusions) == 0 }

// put takes in one decision in place of the one that stood there.
func (d *decided) put(s *Store, p path, e entry) error {
	d.remove(e.key)
	if p.folder == inMaintenance {
		m, err := s.maintenance(e)
		if err == nil {
			d.maintenance[e.key] = m
		}
		return err
	}
	x, err := s.exclusion(e)
	if x.Node != "" || x.Site != "" {
		d.exclusions[e.key] = x // a broken one excludes all the same
	}
	return err
}

func (d *decided) remove(key string) {
	delete(d.maintenance, key)
	delete(d.exclusions, key)
	d.made = nil
}

// putCampaign takes in a campaign's record.
func (v *View) putCampaign(p path, e entry) error {
	r, err := v.s.campaign(e)
	delete(v.campaigns, p.campaign())
	if err == nil {
		v.campaigns[p.campaign()] = r
	}
	return err
}

// putDenial takes in a denial.
func (v *View) putDenial(p path, e entry) error {
	d, err := v.s.denial(p.campaign(), e)
	if err != nil {
		v.removeDenial(p)
		return err
	}
	of := v.denials[p.campaign()]
	if of == nil {
		of = make(map[keychain.LinkID]campaign.Denial)
		v.denials[p.campaign()] = of
	}
	of[p.link()] = d
	return nil
}

func (v *View) removeDenial(p path) {
	of := v.denials[p.campaign()]
	delete(of, p.link())
	if len(of) == 0 {
		delete(v.denials, p.campaign())
	}
}

// Campaign is the record of a campaign; false when there is none that can be read.
func (v *View) Campaign(name string) (campaign.Record, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	r, ok := v.campaigns[name]
	return r, ok
}

// Campaigns is the record of every campaign, the one that began last first.
func (v *View) Campaigns() []campaign.Record {
	v.mu.RLock()
	all := slices.Collect(maps.Values(v.campaigns))
	v.mu.RUnlock()
	slices.SortFunc(all, func(a, b campaign.Record) int {
		return cmp.Or(b.Begun.Compare(a.Begun), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// Denials gives the links that a campaign did not begin, sorted by link.
func (v *View) Denials(name string) []campaign.Denial {
	v.mu.RLock()
	all := slices.Collect(maps.Values(v.denials[name]))
	v.mu.RUnlock()
	slices.SortFunc(all, func(a, b campaign.Denial) int { return cmp.Compare(a.Link, b.Link) })
	return all
}

// Standing is what operators have decided for a time, as Store.Standing gives it. It
// costs nothing until they decide something else.
func (v *View) Standing() topology.Standing {
	v.mu.RLock()
	made := v.decided.made
	v.mu.RUnlock()
	if made != nil {
		return *made
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if d := &v.decided; d.made == nil {
		now := standing(slices.Collect(maps.Values(d.maintenance)), slices.Collect(maps.Values(d.exclusions)))
		d.made = &now
	}
	return *v.decided.made
}
