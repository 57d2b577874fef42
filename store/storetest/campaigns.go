package storetest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// running is the record of a campaign that began some hours after epochZero.
func running(name string, hours int) campaign.Record {
	return campaign.Record{
		Name: name, Kind: campaign.Rotation, State: campaign.Running, By: "operator",
		Selection: campaign.Selection{All: true}, Begun: epochZero.Add(time.Duration(hours) * time.Hour),
		Waves: []campaign.WaveStatus{{Name: "canary", Count: 1, Soak: time.Minute}},
	}
}

func testCampaigns(t *testing.T, e *env) {
	s := e.open()
	put := func(r campaign.Record) int64 {
		t.Helper()
		rev, err := s.PutCampaign(e.ctx, r)
		must(t, err)
		return rev
	}
	r := running("nightly", 0)
	first := put(r)
	if again := put(r); again != first {
		t.Fatalf("the same record is written twice, at %d and %d", first, again)
	}
	other := r
	other.By = "somebody else"
	_, err := s.PutCampaign(e.ctx, other)
	wantKind(t, err, fault.Stale)
	r.Revision, r.State, r.Reason = first, campaign.Paused, "the budget is spent"
	second := put(r)
	if again := put(r); again != second || second <= first {
		t.Fatalf("the first version is %d, the second %d, and repeated %d", first, second, again)
	}
	other.Revision = first
	_, err = s.PutCampaign(e.ctx, other)
	wantKind(t, err, fault.Stale)
	gone := running("never-there", 0)
	gone.Revision = first
	_, err = s.PutCampaign(e.ctx, gone)
	wantKind(t, err, fault.Stale)

	e.put("/campaigns/broken", "{")
	e.put("/campaigns/misnamed", `{"name":"nightly"}`)
	_, err = s.PutCampaign(e.ctx, running("broken", 0))
	wantKind(t, err, fault.Mismatch)
	put(running("a-later-one", 1))
	got, err := s.Campaigns(e.ctx)
	if wantKind(t, err, fault.Mismatch); !strings.Contains(err.Error(), "/campaigns/broken") || !strings.Contains(err.Error(), "/campaigns/misnamed") {
		t.Errorf("broken records are named by %v", err)
	}
	r.Revision = second
	if len(got) != 2 || got[0].Name != "a-later-one" || !reflect.DeepEqual(got[1], r) {
		t.Fatalf("campaigns are %+v, want the last to be %+v", got, r)
	}
}

func testCampaignGuard(t *testing.T, e *env) {
	stores := []*store.Store{e.open(), e.open()}
	r := running("nightly", 0)
	for round := range 20 {
		var revs [2]int64
		n := winners(func(w int) bool {
			mine := r
			mine.By = fmt.Sprintf("round-%d-writer-%d", round, w)
			rev, err := stores[w].PutCampaign(e.ctx, mine)
			if err != nil && !fault.Is(err, fault.Stale) {
				t.Error(err)
			}
			revs[w] = rev
			return err == nil
		})
		if n != 1 {
			t.Fatalf("round %d has %d winners", round, n)
		}
		r.Revision = max(revs[0], revs[1])
	}
}

func testCampaignLostAnswer(t *testing.T, e *env) {
	w, config := e.wired(t)
	s, other := e.openWith(config), e.open()
	stored := func() []campaign.Record {
		records, err := other.Campaigns(e.ctx)
		if err != nil {
			t.Errorf("read past the wire: %v", err)
		}
		return records
	}
	lost := make(chan struct{}, 1)
	w.mend(func() bool {
		if len(stored()) == 0 {
			return true
		}
		select {
		case lost <- struct{}{}:
		default:
		}
		return false
	})
	type result struct {
		rev int64
		err error
	}
	done := make(chan result, 1)
	go func() {
		rev, err := s.PutCampaign(e.ctx, running("nightly", 0))
		done <- result{rev, err}
	}()
	receive(t, "the answer to the write gets lost", lost)
	w.isDown(t)
	w.mend(nil)
	got := receive(t, "the write", done)
	if fault.Is(got.err, fault.Unavailable) { // it may give up, and is then asked again
		got.rev, got.err = s.PutCampaign(e.ctx, running("nightly", 0))
	}
	must(t, got.err)
	if now := stored(); len(now) != 1 || now[0].Revision != got.rev {
		t.Fatalf("stored is %+v, written was %d", now, got.rev)
	}
}

// escapes are names that would be written into somebody else's folder, or could
// not be told from others.
var escapes = []string{"", "..", "../links", "a/b", "/a", "a/", "A", "a.b", "a:b", "a b", "-a", "a-", "a\x00", strings.Repeat("a", 201)}

func testEscapes(t *testing.T, e *env) {
	s := e.open()
	links := []keychain.LinkID{"ab"}
	for _, name := range escapes {
		id := keychain.LinkID(name)
		_, put := s.PutCampaign(e.ctx, running(name, 0))
		_, batches := s.Batches(e.ctx, name, 0, 1)
		_, denials := s.Denials(e.ctx, name)
		_, history := s.History(e.ctx, id)
		for what, err := range map[string]error{
			"put a campaign":       put,
			"drop a campaign":      s.DropCampaign(e.ctx, name),
			"put batches":          s.PutBatches(e.ctx, name, []campaign.Batch{{Links: links}}),
			"put a batch's link":   s.PutBatches(e.ctx, "fine", []campaign.Batch{{Links: []keychain.LinkID{id}}}),
			"read batches":         batches,
			"deny":                 s.Deny(e.ctx, name, []campaign.Denial{{Link: "ab"}}),
			"deny a link":          s.Deny(e.ctx, "fine", []campaign.Denial{{Link: id}}),
			"read denials":         denials,
			"undeny":               s.Undeny(e.ctx, name, links),
			"undeny a link":        s.Undeny(e.ctx, "fine", []keychain.LinkID{id}),
			"begin a maintenance":  s.PutMaintenance(e.ctx, maintenance(name)),
			"end a maintenance":    s.EndMaintenance(e.ctx, keychain.SiteID(name)),
			"exclude a node":       s.Exclude(e.ctx, exclusion(name, "")),
			"exclude a site":       s.Exclude(e.ctx, exclusion("", name)),
			"exclude node of site": s.Exclude(e.ctx, exclusion("a"+name, "x")),
			"readmit a node":       s.Readmit(e.ctx, exclusion(name, "")),
			"readmit a site":       s.Readmit(e.ctx, exclusion("", name)),
			"read a history":       history,
		} {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s with the name %q: %v, want it invalid", what, name, err)
			}
		}
	}
	for _, number := range []int{-1, 1_000_000} {
		wantKind(t, s.PutBatches(e.ctx, "fine", []campaign.Batch{{Number: number}}), fault.Invalid)
	}
	if got := e.dump("/"); len(got) != 0 {
		t.Fatalf("written was %v", got)
	}
	long := strings.Repeat("a", 200)
	_, err := s.PutCampaign(e.ctx, running(long, 0))
	must(t, err)
	must(t, s.Deny(e.ctx, long, []campaign.Denial{{Link: "ab"}}))
}

// revisions is how many transactions wrote what is below a folder.
func (e *env) revisions(below string) int {
	e.t.Helper()
	resp, err := e.raw.Get(e.ctx, e.config.Prefix+below, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	must(e.t, err)
	revs := make(map[int64]bool)
	for _, kv := range resp.Kvs {
		revs[kv.ModRevision] = true
	}
	return len(revs)
}

func testBatches(t *testing.T, e *env) {
	s := e.open()
	const links, size = 10_000, 200
	var batches []campaign.Batch
	for i := range links {
		if i%size == 0 {
			batches = append(batches, campaign.Batch{Number: i / size, Wave: i / size / 10})
		}
		b := &batches[i/size]
		b.Links = append(b.Links, keychain.LinkID(fmt.Sprintf("%s-%05d", strings.Repeat("l", 50), i)))
	}
	for range 2 {
		must(t, s.PutBatches(e.ctx, "nightly", batches))
	}
	if n := e.revisions("/waves/nightly/"); n > 2 {
		t.Errorf("%d links take %d transactions", links, n)
	}
	must(t, s.PutBatches(e.ctx, "nightly-2", batches[:1]))
	for _, c := range []struct{ first, count, want, next int }{
		{0, len(batches), len(batches), 0}, {0, 1 << 40, len(batches), 0}, {9, 2, 2, 9}, {len(batches) - 1, 5, 1, len(batches) - 1},
		{len(batches), 5, 0, 0}, {0, 0, 0, 0}, {3, -1, 0, 0}, {999_999, 10, 0, 0}, {1_000_000, 10, 0, 0}, {-5, 6, 1, 0},
	} {
		got, err := s.Batches(e.ctx, "nightly", c.first, c.count)
		must(t, err)
		if len(got) != c.want || c.want > 0 && !reflect.DeepEqual(got, batches[c.next:c.next+c.want]) {
			t.Errorf("%d batches from %d on are %d, want %d", c.count, c.first, len(got), c.want)
		}
	}
	e.put("/waves/nightly/000001", "{")
	e.put("/waves/nightly/000002", `{"number":3}`)
	got, err := s.Batches(e.ctx, "nightly", 0, 4)
	wantKind(t, err, fault.Mismatch)
	if len(got) != 2 || got[0].Number != 0 || got[1].Number != 3 {
		t.Fatalf("beside broken ones there are %d", len(got))
	}
	must(t, s.PutBatches(e.ctx, "many", slices.Collect(func(yield func(campaign.Batch) bool) {
		for i := range links {
			if !yield(campaign.Batch{Number: i, Links: []keychain.LinkID{"ab"}}) {
				return
			}
		}
	})))
	if n := e.revisions("/waves/many/"); n > 3 {
		t.Errorf("%d batches take %d transactions", links, n)
	}
}

func testDenials(t *testing.T, e *env) {
	s := e.open()
	var many []campaign.Denial
	var ids []keychain.LinkID
	for i := range 10_000 {
		ids = append(ids, keychain.LinkID(fmt.Sprintf("link-%05d", i)))
		many = append(many, campaign.Denial{Link: ids[i], Reason: "its site is in maintenance", At: epochZero, Site: "x"})
	}
	for range 2 {
		must(t, s.Deny(e.ctx, "nightly", many))
	}
	if n := e.revisions("/denials/nightly/"); n > 4 {
		t.Errorf("%d denials take %d transactions", len(many), n)
	}
	got, err := s.Denials(e.ctx, "nightly")
	must(t, err)
	if !reflect.DeepEqual(got, many) {
		t.Fatalf("%d denials are read back, not as they were written", len(got))
	}
	must(t, s.Deny(e.ctx, "nightly", []campaign.Denial{{Link: ids[0], Reason: "first"}, {Link: ids[0], Reason: "last"}}))
	must(t, s.Deny(e.ctx, "nightly-2", many[:2]))
	for range 2 { // and undoing it twice is no error
		must(t, s.Undeny(e.ctx, "nightly", append(ids[3:], ids[3])))
	}
	e.put("/denials/nightly/"+string(ids[1]), "{")
	e.put("/denials/nightly/other", `{"link":"link-00002"}`)
	got, err = s.Denials(e.ctx, "nightly")
	wantKind(t, err, fault.Mismatch)
	if len(got) != 2 || got[0].Reason != "last" || got[1].Link != ids[2] {
		t.Fatalf("left are %+v", got)
	}
}

func testDropCampaign(t *testing.T, e *env) {
	s := e.open()
	names := []string{"night", "nightly", "nightly-2"}
	for _, name := range names {
		_, err := s.PutCampaign(e.ctx, running(name, 0))
		must(t, err)
		must(t, s.PutBatches(e.ctx, name, []campaign.Batch{{Number: 0}, {Number: 1}}))
		must(t, s.Deny(e.ctx, name, []campaign.Denial{{Link: "ab"}, {Link: "cd"}}))
	}
	trail := e.dump("/trail/")
	want := e.dump("/")
	for key := range want {
		if key == "/campaigns/nightly" || strings.Contains(key, "/nightly/") {
			delete(want, key)
		}
	}
	for range 2 {
		must(t, s.DropCampaign(e.ctx, "nightly"))
	}
	if got := e.dump("/"); len(want) != 10+len(trail) || !maps.Equal(got, want) {
		t.Fatalf("left is %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}
