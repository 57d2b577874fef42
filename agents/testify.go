package agents

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// testifying is how many links of a node are looked at side by side for a recovery.
const testifying = 16

// questions are what a recovery has asked and nobody has answered yet.
type questions struct {
	mu       sync.Mutex
	open     []store.Inquiry
	nonEmpty chan struct{}
}

func (q *questions) put(asked []store.Inquiry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = append(q.open, asked...)
	select {
	case q.nonEmpty <- struct{}{}:
	default:
	}
}

func (q *questions) take() (asked []store.Inquiry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	asked, q.open = q.open, nil
	return asked
}

// hear follows what recoveries ask, and answers it, until the session ends.
func (s *session) hear() {
	q := &questions{nonEmpty: make(chan struct{}, 1)}
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		retry := s.newBackoff()
		for s.live.Err() == nil {
			err := s.Store.WatchInquiries(s.live, s.Site, s.node.ID, q.put)
			if s.live.Err() == nil {
				s.log.ErrorContext(s.live, "cannot hear what a recovery asks, will try again", "error", err)
				pause(s.live, retry.NextBackOff())
			}
		}
	})
	for {
		select {
		case <-s.live.Done():
			return
		case <-q.nonEmpty:
		}
		for _, asked := range q.take() {
			s.answer(asked)
		}
	}
}

// answer looks at every link that is asked about, and tells what the device shows and
// the journal holds. The device comes first: so the journal knows of all that was done
// to it.
func (s *session) answer(q store.Inquiry) {
	said := make([]store.Testimony, len(q.Links))
	var group errgroup.Group
	group.SetLimit(testifying)
	for i, asked := range q.Links {
		group.Go(func() error {
			said[i] = s.testimony(q.ID, asked)
			return nil
		})
	}
	_ = group.Wait() // each answers for itself
	retry := s.newBackoff()
	for s.live.Err() == nil {
		err := s.tenure.Testify(s.live, said)
		if err == nil || !fault.Of(err).Retryable() {
			s.log.InfoContext(s.live, "answered a recovery", "links", len(said), "error", err)
			return
		}
		pause(s.live, retry.NextBackOff())
	}
}

func (s *session) testimony(id string, asked store.Asked) store.Testimony {
	t := store.Testimony{Inquiry: id, Site: s.Site, Node: s.node.ID, Link: asked.Link}
	seen, err := s.show(asked)
	if err != nil {
		// The words of a device are not repeated: it was told keys.
		t.Blind = "it is " + fault.Of(err).String()
		s.log.Warn("cannot look at a link for a recovery", "link", asked.Link, "fault", fault.Of(err))
	}
	t.Accepts, t.Sends = seen.down.Accepts, seen.up.Sends
	kept, err := s.Journal.known(s.node.ID, asked.Link)
	if err == nil {
		t.Turn, t.Started, t.Lost = kept.Turn, kept.Started, kept.Lost
		var last ordered
		last, t.Noted, err = s.Journal.lastOrder(s.node.ID, asked.Link)
		t.Accept, t.Send = last.Accept, last.Send
	}
	if err != nil {
		t.Blind = "its journal cannot be read"
	}
	t.At = time.Now().UTC()
	return t
}

// show reads the sides of a link that are asked about, as far as the node has them.
func (s *session) show(asked store.Asked) (seen sight, err error) {
	ctx, cancel := context.WithTimeout(s.live, s.Slow)
	defer cancel()
	if asked.Accepts && s.node.Downstream != nil {
		if seen.down, err = s.node.Downstream.Observe(ctx, asked.Link); err != nil {
			return sight{}, err
		}
	}
	if asked.Sends && s.node.Upstream != nil {
		if seen.up, err = s.node.Upstream.Observe(ctx, asked.Link); err != nil {
			return sight{}, err
		}
	}
	return seen, nil
}

// recollect has etcd know what it has forgotten, after all orders were read: in the
// beginning, and whenever the watch had to begin anew.
func (s *session) recollect() {
	s.mu.Lock()
	again := s.snapshots > 0
	s.snapshots++
	s.mu.Unlock()
	s.aside.Go(func() {
		if again {
			s.reread()
		}
		s.witness()
	})
}

// witness has etcd know what this node holds and etcd has forgotten: the links in the
// journal that have no order, and whose report is gone or older. Nothing is done to a
// device. It goes on until there is nothing left to tell.
func (s *session) witness() {
	retry := s.newBackoff()
	for s.live.Err() == nil {
		links, err := s.Journal.links(s.node.ID)
		if err != nil {
			s.log.Error("cannot read the journal", "error", err)
			return
		}
		left := false
		for _, link := range links {
			if s.live.Err() != nil {
				return
			}
			left = !s.remind(link) || left
		}
		if !left || !pause(s.live, retry.NextBackOff()) {
			return
		}
	}
}

// remind reports what the node holds of link, unless etcd knows; false when it could
// not be read.
func (s *session) remind(link keychain.LinkID) bool {
	s.mu.Lock()
	e := s.errands[link]
	ordered := e != nil && !e.gone
	s.mu.Unlock()
	kept, err := s.Journal.known(s.node.ID, link)
	if ordered || err != nil || kept.Turn == 0 || s.reports.latest(link).Turn >= kept.Turn {
		return err == nil
	}
	last, ok, err := s.Journal.lastOrder(s.node.ID, link)
	if !ok {
		return err == nil // from before orders were kept: nobody knows which sides it has
	}
	seen, err := s.show(store.Asked{Link: link, Accepts: len(last.Accept) > 0, Sends: !last.Send.IsZero()})
	if err != nil {
		return false
	}
	s.reports.change(link, func(o *store.Observation) {
		o.Turn, o.Accepts, o.Sends, o.Started, o.Lost = kept.Turn, seen.down.Accepts, seen.up.Sends, kept.Started, kept.Lost
	})
	return true
}

// reread takes in what etcd says that this node reported, after the watch had to begin
// anew: an etcd that was put back has forgotten some of it. What it has forgotten is
// told again.
func (s *session) reread() {
	obs, err := s.tenure.Observations(s.live)
	if err != nil && !fault.Is(err, fault.Mismatch) {
		return // the watch breaks again, or the tenure ends
	}
	stale := s.reports.replace(obs)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, link := range stale {
		if e := s.errands[link]; e != nil && !e.gone {
			e.settled = false
			s.enqueue(e)
		}
	}
}

// replace takes obs for what stands in the store, and names the links about which it
// stood otherwise.
func (r *reports) replace(obs []store.Observation) (stale []keychain.LinkID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := make(map[keychain.LinkID]store.Observation, len(obs))
	for _, o := range obs {
		now[o.Link] = o
	}
	for link, had := range r.stored {
		if o, ok := now[link]; !ok || o.Turn < had.Turn {
			stale = append(stale, link)
		}
	}
	r.stored = now
	return stale
}

// keepable is want without the keys that nobody can supply and that the device does not
// have: there is nothing that an agent could do about those.
func keepable(ctx context.Context, dev downstream.Device, o store.Order, want []downstream.Want) ([]downstream.Want, error) {
	bare := false
	for _, w := range o.Accept {
		bare = bare || w.Wrapped.IsZero()
	}
	if !bare {
		return want, nil
	}
	seen, err := dev.Observe(ctx, o.Link)
	if err != nil {
		return nil, err
	}
	var kept []downstream.Want
	for i, w := range o.Accept {
		has := false
		for _, r := range seen.Accepts {
			has = has || r.Epoch == w.Epoch
		}
		if has || !w.Wrapped.IsZero() {
			kept = append(kept, want[i])
		}
	}
	return kept, nil
}
