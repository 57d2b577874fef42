package agents

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// keepStarted is how many started epochs of a link are kept, the highest ones.
// Once there are manyStarted, an epoch below them counts as started as well:
// that costs at most a resume that the device refuses, where forgetting it could
// cost a key. The distance leaves room for epochs that are taken back.
const (
	keepStarted = 40
	manyStarted = 32
)

// lockWait is how long an agent waits for another one to let go of the journal:
// long enough for one that is just stopping.
const lockWait = time.Second

// batchDelay is how long a write waits for others to share its sync. bbolt's own
// 10 ms would be most of the time that a switch takes.
const batchDelay = 2 * time.Millisecond

// Buckets of the journal's file.
const (
	metaBucket  = "meta"
	linksBucket = "links" // <node>/<link> → entry
	notedBucket = "noted" // <node>/<link> → ordered
	instanceKey = "instance"
)

// Journal is what an agent keeps on disk: the highest Turn obeyed for each node
// and link, and the epochs that a counter-bound node has begun to send with or
// has lost, and the last order that was taken in, with its wrapped keys: what a record
// is rebuilt from when etcd is lost. There is no key in it that Vault need not open.
// What a method wrote is synced when it returns.
// One process at a time has a journal open. It is safe for concurrent use.
type Journal struct {
	db       *bbolt.DB
	instance string

	mu sync.Mutex
	// synced is what the file is known to hold, so that it need not be asked each
	// time. Nothing gets here before it is on disk.
	synced map[string]synced
	// receipts are those that the trail has and the file does not know of yet.
	receipts map[string][]keychain.Epoch
	// orders has, of the orders that the file holds, what tells them apart.
	orders map[string]uint64
}

// synced is an entry and the transaction that wrote it, or a later one that read it.
type synced struct {
	entry
	tx int
}

// entry is what is kept about one link of one node. Started and Lost are sorted,
// and Lost is part of what counts as started.
type entry struct {
	Turn    keychain.Turn    `json:"turn"`
	Started []keychain.Epoch `json:"started,omitempty"`
	Lost    []keychain.Epoch `json:"lost,omitempty"`
	// Held is what orders up to Turn gave the node and what no receipt has been written
	// for, sorted by epoch.
	Held []store.Held `json:"held,omitempty"`
}

// OpenJournal opens the journal in the file path, and makes it when it is not
// there; the directory must be. Errors: Refused when another agent has it open,
// Invalid when the file cannot be used.
func OpenJournal(path string) (*Journal, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait,
		// What is free in the file is found out when it is opened: one page less to
		// sync each time.
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fault.New(fault.Refused, "another agent uses state directory %s", filepath.Dir(path))
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "open journal %s", path)
	}
	db.MaxBatchDelay = batchDelay
	j := &Journal{db: db, synced: make(map[string]synced), receipts: make(map[string][]keychain.Epoch), orders: make(map[string]uint64)}
	if err := db.Update(j.prepare); err != nil {
		return nil, errors.Join(fault.Wrap(fault.Invalid, err, "prepare journal %s", path), db.Close())
	}
	return j, nil
}

func (j *Journal) prepare(tx *bbolt.Tx) error {
	if _, err := tx.CreateBucketIfNotExists([]byte(linksBucket)); err != nil {
		return err
	}
	if _, err := tx.CreateBucketIfNotExists([]byte(notedBucket)); err != nil {
		return err
	}
	meta, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	if kept := meta.Get([]byte(instanceKey)); kept != nil {
		j.instance = string(kept)
		return nil
	}
	j.instance = rand.Text()
	return meta.Put([]byte(instanceKey), []byte(j.instance))
}

// Instance tells this journal's agent from all others, also after a restart.
func (j *Journal) Instance() string { return j.instance }

// Close lets go of the file.
func (j *Journal) Close() error {
	return fault.Wrap(fault.Unknown, j.db.Close(), "close journal")
}

// fence writes down that these orders of node are about to be obeyed, all at once: their
// Turns, and the keys that they give. An order of a Turn below the one that is kept is
// left alone: entry tells.
func (j *Journal) fence(node keychain.NodeID, orders ...store.Order) error {
	changes, notes := make(map[keychain.LinkID]func(*entry)), make(map[keychain.LinkID]note)
	for _, o := range orders {
		kept, err := j.known(node, o.Link)
		n, fresh := j.note(node, o)
		if err == nil && (kept.Turn > o.Turn || kept.Turn == o.Turn && !fresh) {
			continue
		}
		if before, ok := notes[o.Link]; !ok || before.turn <= o.Turn {
			notes[o.Link] = n
		}
		if err == nil && kept.Turn == o.Turn && j.otherwise(node, o) {
			continue
		}
		if err == nil && kept.Turn == o.Turn { // its keys were wrapped anew
			if changes[o.Link] == nil {
				changes[o.Link] = func(*entry) {}
			}
			continue
		}
		before := changes[o.Link]
		changes[o.Link] = func(e *entry) {
			if before != nil {
				before(e)
			}
			e.Turn, e.Held = max(e.Turn, o.Turn), together(e.Held, given(o))
		}
	}
	return j.write(node, changes, notes)
}

// given notes that the trail has the receipts of these epochs. It is written with the next
// change: until then, also after a restart, the report that came with them says it.
func (j *Journal) given(node keychain.NodeID, link keychain.LinkID, epochs []keychain.Epoch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := string(entryKey(node, link))
	j.receipts[key] = append(j.receipts[key], epochs...)
}

// settle leaves out of e what there are receipts for, and says how many it knew of.
func (j *Journal) settle(key string, e *entry) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	gone := j.receipts[key]
	e.Held = slices.DeleteFunc(e.Held, func(h store.Held) bool { return slices.Contains(gone, h.Epoch) })
	return len(gone)
}

// merge takes over what node reported earlier, maybe by another agent or before
// this journal existed.
func (j *Journal) merge(node keychain.NodeID, obs []store.Observation) error {
	changes := make(map[keychain.LinkID]func(*entry))
	for _, o := range obs {
		changes[o.Link] = func(e *entry) {
			e.Turn = max(e.Turn, o.Turn)
			e.Started = append(append(e.Started, o.Started...), o.Lost...)
			e.Lost = append(e.Lost, o.Lost...)
			e.Held = e.heldAfter(o)
		}
	}
	return j.change(node, changes)
}

// known is what the file holds about a link of node; zero when that is nothing.
func (j *Journal) known(node keychain.NodeID, link keychain.LinkID) (entry, error) {
	j.mu.Lock()
	s, ok := j.synced[string(entryKey(node, link))]
	j.mu.Unlock()
	if ok {
		return s.clone(), nil
	}
	return j.entry(node, link)
}

// entry is known, read from the file.
func (j *Journal) entry(node keychain.NodeID, link keychain.LinkID) (entry, error) {
	var e entry
	var at int
	err := j.db.View(func(tx *bbolt.Tx) (err error) {
		at = tx.ID()
		e, err = read(tx, node, link)
		return err
	})
	if err != nil {
		return entry{}, fault.Wrap(fault.Unavailable, err, "read the journal of %s", link)
	}
	j.learn(map[string]synced{string(entryKey(node, link)): {e.clone(), at}})
	return e, nil
}

// learn notes what the file holds. Transactions are numbered in their order, so
// that an older one is not taken for the newest.
func (j *Journal) learn(on map[string]synced) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, s := range on {
		if kept, ok := j.synced[key]; !ok || kept.tx <= s.tx {
			j.synced[key] = s
		}
	}
}

// doubt has the file asked again about what may or may not have been written.
func (j *Journal) doubt(on map[string]synced) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key := range on {
		delete(j.synced, key)
	}
}

func (e entry) clone() entry {
	return entry{Turn: e.Turn, Started: slices.Clone(e.Started), Lost: slices.Clone(e.Lost), Held: slices.Clone(e.Held)}
}

// change applies the changes in one synced transaction, shared with whoever else
// writes at that moment. Each must be fit to be applied again.
func (j *Journal) change(node keychain.NodeID, changes map[keychain.LinkID]func(*entry)) error {
	return j.write(node, changes, nil)
}

// write is change, and writes down orders of the same links.
func (j *Journal) write(node keychain.NodeID, changes map[keychain.LinkID]func(*entry), notes map[keychain.LinkID]note) error {
	if len(changes) == 0 {
		return nil
	}
	wrote, settled := make(map[string]synced, len(changes)), make(map[string]int, len(changes))
	err := j.db.Batch(func(tx *bbolt.Tx) error {
		for link, change := range changes {
			e, err := read(tx, node, link)
			if err != nil {
				return err
			}
			key := string(entryKey(node, link))
			settled[key] = j.settle(key, &e)
			change(&e)
			e.tidy()
			doc, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := tx.Bucket([]byte(linksBucket)).Put([]byte(key), doc); err != nil {
				return err
			}
			if n, ok := notes[link]; ok {
				if err := tx.Bucket([]byte(notedBucket)).Put([]byte(key), n.doc); err != nil {
					return err
				}
			}
			wrote[key] = synced{e, tx.ID()}
		}
		return nil
	})
	if err != nil {
		j.doubt(wrote)
		return fault.Wrap(fault.Unavailable, err, "write the journal of %s", node)
	}
	j.learn(wrote)
	j.mu.Lock()
	defer j.mu.Unlock()
	for link, n := range notes {
		j.orders[string(entryKey(node, link))] = n.sum
	}
	for key, n := range settled {
		if j.receipts[key] = j.receipts[key][n:]; len(j.receipts[key]) == 0 {
			delete(j.receipts, key)
		}
	}
	return nil
}

func read(tx *bbolt.Tx, node keychain.NodeID, link keychain.LinkID) (entry, error) {
	doc := tx.Bucket([]byte(linksBucket)).Get(entryKey(node, link))
	if doc == nil {
		return entry{}, nil
	}
	return decode(doc)
}

var errDamaged = errors.New("the file is damaged")

func decode(doc []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(doc, &e); err != nil {
		return entry{}, errDamaged
	}
	return e, nil
}

func entryKey(node keychain.NodeID, link keychain.LinkID) []byte {
	return []byte(string(node) + "/" + string(link))
}

// tidy sorts, and keeps the highest started epochs and what was lost of them.
func (e *entry) tidy() {
	slices.Sort(e.Started)
	e.Started = slices.Compact(e.Started)
	e.Started = e.Started[max(0, len(e.Started)-keepStarted):]
	slices.Sort(e.Lost)
	e.Lost = slices.DeleteFunc(slices.Compact(e.Lost), func(l keychain.Epoch) bool {
		return !slices.Contains(e.Started, l)
	})
}

// started reports whether epoch counts as started.
func (e *entry) started(epoch keychain.Epoch) bool {
	below := len(e.Started) >= manyStarted && epoch < e.Started[0]
	return below || slices.Contains(e.Started, epoch)
}
