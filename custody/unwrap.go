package custody

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

const (
	// gatherTime is how long a key waits for others under the same KEK, to be
	// opened with them in one request.
	gatherTime = 3 * time.Millisecond
	// atATime is how many requests for the keys of one KEK are under way at once:
	// one that hangs does not hold up the rest.
	atATime = 2
	// mostTogether is how many keys one request opens.
	mostTogether = 128
	// singly is how many requests run at a time when a request for many failed and
	// each key is asked for by itself.
	singly = 8
)

// opening is one wrapped key on its way to be opened.
type opening struct {
	ctx        context.Context
	link       keychain.LinkID
	epoch      keychain.Epoch
	wrapped    keychain.Wrapped
	derivation string
	// done gets the outcome, once. Should the caller have left, whoever finds it
	// there wipes the key.
	done chan opened
	left atomic.Bool
}

type opened struct {
	key secret.Key
	err error
}

// Unwrap opens the key of link under epoch, together with others that are asked
// for at the same time and wrapped under the same KEK: one key's trouble is its
// own. Errors: Invalid (a malformed name), Refused (the token may not, or there
// is no KEK), Mismatch (it was minted for another link or epoch, or is no link
// key), Unavailable.
func (c *Custody) Unwrap(
	ctx context.Context, link keychain.LinkID, epoch keychain.Epoch, w keychain.Wrapped,
) (secret.Key, error) {
	derivation, err := derivation(link, epoch, w.KEK)
	if err != nil {
		return secret.Key{}, fault.Wrap(fault.Invalid, err, "open epoch %d of %s", epoch, link)
	}
	o := &opening{ctx: ctx, link: link, epoch: epoch, wrapped: w, derivation: derivation, done: make(chan opened, 1)}
	c.together(o)
	select {
	case r := <-o.done:
		return r.key, r.err
	case <-ctx.Done():
		o.left.Store(true)
		o.wipe()
		return secret.Key{}, c.away(ctx, ctx.Err())
	}
}

// answer gives the caller of o its key, or wipes it when the caller has left.
func (o *opening) answer(r opened) {
	o.done <- r
	if o.left.Load() {
		o.wipe()
	}
}

func (o *opening) wipe() {
	select {
	case r := <-o.done:
		r.key.Wipe()
	default:
	}
}

// queue is what waits to be opened under one KEK.
type queue struct {
	waiting []*opening
	flying  int // requests under way
	timed   bool
}

// together has o opened with what comes within gatherTime, or for as long as
// enough requests are under way: the slower Vault is, the more share one.
func (c *Custody) together(o *opening) {
	kek := o.wrapped.KEK
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.queues[kek]
	if q == nil {
		q = &queue{}
		c.queues[kek] = q
	}
	q.waiting = append(q.waiting, o)
	if !q.timed && q.flying < atATime {
		q.timed = true
		time.AfterFunc(gatherTime, func() {
			c.mu.Lock()
			q.timed = false
			batch := q.take()
			c.mu.Unlock()
			c.openAll(q, batch)
		})
	}
}

// take gives what the next request is to open, if there may be one. The caller
// holds Custody.mu.
func (q *queue) take() []*opening {
	if len(q.waiting) == 0 || q.flying >= atATime {
		return nil
	}
	n := min(len(q.waiting), mostTogether)
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	q.flying++
	return batch
}

// openAll opens batch, and what has come meanwhile.
func (c *Custody) openAll(q *queue, batch []*opening) {
	for len(batch) > 0 {
		c.open(batch)
		c.mu.Lock()
		q.flying--
		batch = q.take()
		c.mu.Unlock()
	}
}

// open opens what is under one KEK.
func (c *Custody) open(batch []*opening) {
	batch = slices.DeleteFunc(batch, func(o *opening) bool { return o.ctx.Err() != nil }) // nobody waits for it
	switch len(batch) {
	case 0:
		return
	case 1:
		batch[0].answer(c.openOne(batch[0]))
		return
	}
	ctx, stop := whileAny(batch)
	defer stop()
	// Of those that are left, each has a trouble of its own and is told of it as if
	// it had come alone.
	left := c.openMany(ctx, batch)
	var wg sync.WaitGroup
	slots := make(chan struct{}, singly)
	for _, o := range left {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			o.answer(c.openOne(o))
		})
	}
	wg.Wait()
}

// whileAny lasts as long as somebody waits for one of batch.
func whileAny(batch []*opening) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	var waiting atomic.Int64
	waiting.Store(int64(len(batch)))
	stops := []func() bool{}
	for _, o := range batch {
		stops = append(stops, context.AfterFunc(o.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// plain is what Vault says of one key: decoded from base64 in place, and cleared
// by whoever asked.
type plain struct {
	Plaintext []byte `json:"plaintext"`
}

// openMany opens batch with one request and gives back those that it did not
// answer. What concerns all of them alike, each is told: that Vault is away, say.
func (c *Custody) openMany(ctx context.Context, batch []*opening) (left []*opening) {
	type item struct {
		Ciphertext string `json:"ciphertext"`
		Context    string `json:"context"`
	}
	items := make([]item, len(batch))
	for i, o := range batch {
		items[i] = item{o.wrapped.Ciphertext, o.derivation}
	}
	var results struct {
		Batch []plain `json:"batch_results"`
	}
	defer func() {
		for _, p := range results.Batch[:cap(results.Batch)] {
			clear(p.Plaintext)
		}
	}()
	kek := batch[0].wrapped.KEK
	err := c.write(ctx, call{
		op: OpUnwrap, path: c.mount + "/decrypt/" + kek, what: "decrypt under " + kek, kek: kek,
	}, map[string]any{"batch_input": items, "partial_failure_response_code": 200}, &results)
	switch {
	case err != nil && (fault.Is(err, fault.Invalid) || errors.Is(err, errGarbled)):
		return batch // one of them may have spoilt it
	case err != nil:
		for _, o := range batch {
			o.answer(opened{err: err})
		}
		return nil
	case len(results.Batch) != len(batch):
		return batch
	}
	for i, o := range batch {
		if len(results.Batch[i].Plaintext) != secret.Size {
			left = append(left, o)
			continue
		}
		o.answer(opened{key: secret.New(results.Batch[i].Plaintext)})
	}
	return left
}

// openOne opens one key with a request of its own.
func (c *Custody) openOne(o *opening) opened {
	var got plain
	defer func() { clear(got.Plaintext) }()
	kek := o.wrapped.KEK
	err := c.write(o.ctx, call{
		op: OpUnwrap, path: c.mount + "/decrypt/" + kek, what: "decrypt under " + kek, kek: kek,
		bad: fault.New(fault.Mismatch,
			"open epoch %d of %s: the wrapped key is not of this link and epoch under %s (if Vault was set up anew: keyorch recover --ask-vault)", o.epoch, o.link, kek),
		old: fault.New(fault.Refused, "open epoch %d of %s: %s", o.epoch, o.link, retired(o.wrapped)),
	}, map[string]any{"ciphertext": o.wrapped.Ciphertext, "context": o.derivation}, &got)
	switch {
	case err != nil:
		return opened{err: err}
	case len(got.Plaintext) != secret.Size:
		return opened{err: fault.New(fault.Mismatch,
			"open epoch %d of %s: it holds %d bytes, a link key has %d", o.epoch, o.link, len(got.Plaintext), secret.Size)}
	}
	return opened{key: secret.New(got.Plaintext)}
}
