package strongswan

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/strongswan/govici/vici"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// change is one switch of one link to one key.
type change struct {
	ppk
	ref    keychain.Ref
	key    secret.Key
	before associations
}

// tidy is how long it may take to leave charon as it was, or with one key. This
// time is had also when the caller's context has ended.
const tidy = 4 * time.Second

// goodbye is how long a peer may take to answer that an SA is deleted. Then it is
// deleted without.
const goodbye = time.Second

// errLeads says that there is nothing to take back: the key leads after all.
var errLeads = errors.New("it leads after all")

// run leaves ref leading, and alone.
func (s *change) run(t *talk) error {
	all, err := t.associations(s.link)
	if err != nil {
		return err
	}
	s.before = all
	for up := range all.up() {
		if err := s.device.other([]keychain.Ref{up}, s.ref); err != nil {
			return err
		}
	}
	if !all.lead(s.ref, s.connection.children()) {
		if err := s.begin(t); err != nil {
			return err
		}
	}
	return s.retire(t.ctx)
}

// begin makes ref lead. After an error that is not Unknown nothing of it is
// left. Where an answer was lost, what charon did stays, to be looked at. When the
// context ends while ref leads already, it has begun: what is older goes, or two keys
// would be left.
func (s *change) begin(t *talk) error {
	failed := s.try(t)
	if failed == nil || fault.Is(failed, fault.Unknown) && t.ctx.Err() == nil {
		return failed
	}
	err := s.device.afterwards(t.ctx, s.undo)
	if errors.Is(err, errLeads) && t.ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Unknown, failed, "switch %s to epoch %d", s.link, s.ref.Epoch)
	}
	return failed
}

// try loads the key and its connection, and initiates what does not lead yet.
func (s *change) try(t *talk) error {
	name := nameOf(s.link, s.ref)
	if err := s.load(t, s.ref, s.key); err != nil {
		return err
	}
	connection := s.connection.message()
	if err := connection.Set("ppk_id", name); err != nil {
		return fault.Wrap(fault.Invalid, err, "name the key of epoch %d", s.ref.Epoch)
	}
	if err := t.change("load-conn", message(name, connection)); err != nil {
		return err
	}
	children := s.connection.children()
	for _, child := range children {
		if s.before.lead(s.ref, []string{child}) {
			continue
		}
		if err := t.initiate(s.link, s.ref, child); err != nil && !s.overtaken(t, child, err) {
			return err
		}
	}
	all, err := t.associations(s.link)
	if err == nil && !all.lead(s.ref, children) {
		err = fault.New(fault.Unavailable, "charon says that epoch %d is established, but shows no SA of it that is installed", s.ref.Epoch)
	}
	return err
}

// overtaken reports whether child stands although it was not established. charon goes
// on with an attempt whose answer was lost, and establishes no second child beside
// that of the first, which it calls a failure.
func (s *change) overtaken(t *talk, child string, failed error) bool {
	if !fault.Is(failed, fault.Unavailable) {
		return false
	}
	all, err := t.associations(s.link)
	return err == nil && all.lead(s.ref, []string{child})
}

// initiate establishes one child under r.
func (t *talk) initiate(link keychain.LinkID, r keychain.Ref, child string) error {
	why, err := t.establish("child", child, "ike", nameOf(link, r))
	if why != "" {
		return fault.New(fault.Unavailable, "establish epoch %d on %s: %s", r.Epoch, link, why)
	}
	return err
}

// establish initiates what is named, and waits until it stands. When it does not,
// why says so in words for an operator. Errors: Unknown, Unavailable when it was not begun.
func (t *talk) establish(what ...any) (why string, err error) {
	leave, err := t.charon.establishing.enter(t.ctx)
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "wait for SAs of other links")
	}
	defer leave()
	request := message(append(what, "timeout", milliseconds(t.charon.timeout), "loglevel", 1)...)
	events, err := t.stream("initiate", "control-log", request)
	if no, ok := errors.AsType[refusal](err); ok {
		return diagnose(events, no), nil
	}
	return "", t.judge("initiate", err)
}

// undo takes back what try did: SAs that are new, and the connection and the key
// where nothing of theirs was up before. It leaves ref alone when it leads after
// all, and says so.
func (s *change) undo(t *talk) error {
	all, err := t.associations(s.link)
	if err != nil {
		return err
	}
	if all.lead(s.ref, s.connection.children()) {
		return errLeads
	}
	for _, sa := range all {
		old := slices.ContainsFunc(s.before, func(b ikeSA) bool { return b.id == sa.id })
		if sa.ref == s.ref && !old {
			if err := t.terminate("ike-id", sa.id); err != nil {
				return err
			}
		}
	}
	if s.before.up()[s.ref] {
		return nil
	}
	return t.drop(s.link, s.ref)
}

// retire lets arrive what was sent under older keys, and ends them. Whatever fails
// here is Unknown: ref leads, but is not alone. When the context ends there is no
// more waiting; ending the others is short, and leaves one key.
func (s *change) retire(ctx context.Context) error {
	if ikes, _ := s.before.surplus(s.ref); len(ikes) > 0 {
		wait := time.NewTimer(s.overlap)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	err := s.device.afterwards(ctx, s.clear)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fault.Wrap(fault.Unknown, err, "end what is older than epoch %d on %s", s.ref.Epoch, s.link)
}

// clear ends every SA, connection and secret of the link but those of ref.
func (s *change) clear(t *talk) error {
	all, err := t.associations(s.link)
	if err != nil {
		return err
	}
	ikes, children := all.surplus(s.ref)
	for _, id := range ikes {
		if err := t.terminate("ike-id", id); err != nil {
			return err
		}
	}
	for _, id := range children {
		if err := t.terminate("child-id", id); err != nil {
			return err
		}
	}
	held, err := s.held(t)
	if err != nil {
		return err
	}
	loaded, err := t.connections(s.link)
	if err != nil {
		return err
	}
	for _, r := range append(held, loaded...) {
		if r != s.ref {
			if err := t.drop(s.link, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// afterwards calls f in a conversation of its own that outlives ctx for a short
// time.
func (d *Device) afterwards(ctx context.Context, f func(*talk) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidy)
	defer cancel()
	t, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer t.hangUp()
	return f(t)
}

// terminate ends an SA. One that has gone meanwhile is no error.
func (t *talk) terminate(field, id string) error {
	leave, err := t.charon.ending.enter(t.ctx)
	if err != nil {
		return err
	}
	defer leave()
	return absent(t.ask("terminate", message(field, id, "force", "yes", "timeout", milliseconds(goodbye))))
}

// drop unloads the connection and the secret of r. What has gone is no error.
func (t *talk) drop(link keychain.LinkID, r keychain.Ref) error {
	if err := absent(t.ask("unload-conn", message("name", nameOf(link, r)))); err != nil {
		return err
	}
	return absent(t.ask("unload-shared", message("id", nameOf(link, r))))
}

// absent takes charon's no for an answer: it says no about what it does not have.
func absent(_ *vici.Message, err error) error {
	if _, no := errors.AsType[refusal](err); no {
		return nil
	}
	return err
}

// connections lists the keys of link whose connections charon holds.
func (t *talk) connections(link keychain.LinkID) ([]keychain.Ref, error) {
	names, err := t.loaded()
	return named(link, names, ""), err
}

// loaded lists what charon's connections are called. Errors: Unavailable.
func (t *talk) loaded() ([]string, error) {
	answers, err := t.read("connections", "get-conns", "", nil)
	if err != nil {
		return nil, err
	}
	return texts(answers[0], "conns"), nil
}

// notified finds the name of a notify error in charon's log: AUTHENTICATION_FAILED.
var notified = regexp.MustCompile(`received ([A-Z][A-Z0-9_]{2,60}) (?:notify|error)`)

// diagnose says why an SA was not established, from the log that charon streams
// meanwhile, of which only what is known to be harmless is repeated.
func diagnose(log []*vici.Message, no refusal) string {
	for _, event := range slices.Backward(log) {
		line := text(event, "msg")
		if m := notified.FindStringSubmatch(line); m != nil {
			return "the peer does not accept it: " + m[1]
		}
		switch {
		case strings.Contains(line, "peer not responding"):
			return "the peer does not answer"
		case strings.Contains(line, "peer does not support PPK"), strings.Contains(line, "peer didn't use PPK"):
			return "the responder uses no PPK: it holds none at all, or knows none"
		}
	}
	return no.Error()
}
