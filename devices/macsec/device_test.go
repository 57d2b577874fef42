package macsec

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/macsec/secy"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// linksOfTheSuites are those that the conformance suites use.
func linksOfTheSuites() []string {
	all := []string{"conformance"}
	for i := range 8 {
		all = append(all, fmt.Sprintf("link-%d", i))
	}
	return all
}

// The suites run on the kernel in e2e/devices; here they run on one that can fail
// on demand.
func TestConformanceOnAKernelThatFails(t *testing.T) {
	for _, suite := range []secy.Suite{secy.GCMAES128, secy.GCMAES256, secy.GCMAESXPN128, secy.GCMAESXPN256} {
		t.Run(suite.String()+" upstream", func(t *testing.T) {
			upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
				f := newFake(suite, linksOfTheSuites()...)
				return upstreamtest.Fixture{
					Device:   f.device(t).Upstream(),
					FailNext: func() { f.next(fails) },
					HangNext: func() func() { f.next(hangs); return f.calm },
					LoseNext: func() { f.next(loses) },
					Reboot:   f.reboot,
					Reused:   f.pass,
				}
			})
		})
		t.Run(suite.String()+" downstream", func(t *testing.T) {
			downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
				f := newFake(suite, linksOfTheSuites()...)
				d := f.device(t)
				return downstreamtest.Fixture{
					Device:   d.Downstream(),
					FailNext: func() { f.next(fails) },
					HangNext: func() func() { f.next(hangs); return f.calm },
					LoseNext: func() { f.next(loses) },
					Reboot:   f.reboot,
					Send:     d.Upstream().Switch,
					Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
						o, err := d.Upstream().Observe(ctx, link)
						return o.Sends, err
					},
				}
			})
		})
	}
}

// A crash between any two steps leaves something from which the same call
// recovers, and never a second use of a packet number.
func TestEveryStepMayBeTheLast(t *testing.T) {
	for _, how := range []trouble{fails, loses} {
		for step := 1; step <= 12; step++ {
			f := newFake(secy.GCMAES128, "l1")
			d := f.device(t)
			ledger := &upstreamtest.Ledger{}
			for e := keychain.Epoch(1); e <= 6; e++ {
				c := secrettest.New(t)
				sa := order(e, keychain.Serial(e))
				want := upstream.Want{SA: sa, Key: keyOf(c)}
				f.mu.Lock()
				f.writes = 0
				f.trouble = func(write int) trouble {
					if write == step {
						return how
					}
					return fine
				}
				f.mu.Unlock()
				for try := range 3 {
					err := d.Downstream().Install(t.Context(), sa, c.Key)
					if err == nil {
						_, err = upstream.Send(t.Context(), d.Upstream(), "l1", want, ledger)
					}
					if err == nil {
						break
					}
					if e == 1 && ledger.Lost(1) {
						break // nothing was sent before: the first epoch is given up
					}
					if try == 2 {
						t.Fatalf("step %d, epoch %d: %v", step, e, err)
					}
				}
				if first, second := f.pass(), f.pass(); first > 0 || second > 0 {
					t.Fatalf("step %d, epoch %d: a packet number was used twice", step, e)
				}
			}
			if o, err := d.Upstream().Observe(t.Context(), "l1"); err != nil || o.Sends.Epoch != 6 || o.Packets[6] != 2 {
				t.Errorf("step %d: it ends with %v (%v)", step, o, err)
			}
		}
	}
}

func TestAnAbortedEpochMakesRoom(t *testing.T) {
	f := newFake(secy.GCMAES128, "l1")
	d := f.device(t)
	keys := map[keychain.Epoch]secrettest.Canary{1: secrettest.New(t), 2: secrettest.New(t), 3: secrettest.New(t)}
	put := func(e keychain.Epoch, serial keychain.Serial) {
		t.Helper()
		if err := d.Downstream().Install(t.Context(), order(e, serial), keys[e].Key); err != nil {
			t.Fatal(err)
		}
		if err := d.Upstream().Switch(t.Context(), order(e, serial), keys[e].Key); err != nil {
			t.Fatal(err)
		}
		f.pass()
	}
	put(1, 1)
	put(2, 2)
	// Aborted: back to epoch 1, whose packet number goes on.
	if err := (Upstream{d}).Resume(t.Context(), order(1, 1)); err != nil {
		t.Fatal(err)
	}
	f.pass()
	put(3, 2) // under the AN of epoch 2
	down, err := d.Downstream().Observe(t.Context(), "l1")
	if err != nil || len(down.Accepts) != 2 || down.Accepts[0].Epoch != 1 || down.Accepts[1].Epoch != 3 {
		t.Errorf("it accepts %v (%v)", down.Accepts, err)
	}
	up, err := d.Upstream().Observe(t.Context(), "l1")
	if err != nil || up.Sends.Epoch != 3 || up.Packets[1] != 2 || f.pass() != 0 {
		t.Errorf("it sends with %v (%v)", up, err)
	}
	if err := (Upstream{d}).Resume(t.Context(), order(2, 2)); !fault.Is(err, fault.Refused) {
		t.Errorf("resume what was deleted: %v", err)
	}
}

func TestASenderThatMissedFourRotations(t *testing.T) {
	f := newFake(secy.GCMAES128, "l1")
	d := f.device(t)
	old, c := secrettest.New(t), secrettest.New(t)
	if err := d.Upstream().Switch(t.Context(), order(1, 1), old.Key); err != nil {
		t.Fatal(err)
	}
	if err := d.Upstream().Switch(t.Context(), order(5, 5), c.Key); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Upstream().Observe(t.Context(), "l1"); err != nil || o.Sends.Epoch != 5 {
		t.Errorf("it sends with %v (%v)", o.Sends, err)
	}
}

func TestWhatStandsUnderAnANAndIsNotOurs(t *testing.T) {
	f := newFake(secy.GCMAES128, "l1")
	d := f.device(t)
	c := secrettest.New(t)
	peer := d.links["l1"].peer()
	s := f.interfaces["l1"]
	s.RXSCs = []secy.RXSC{{SCI: peer, Active: true, SAs: []secy.SA{{AN: 2, Active: true, PN: 9, KeyID: [16]byte{7}}}}}
	s.TXSAs = []secy.SA{{AN: 2, Active: true, PN: 9, KeyID: [16]byte{7}}}
	for side, op := range map[string]func() error{
		"receive":  func() error { return d.Downstream().Install(t.Context(), order(6, 6), c.Key) },
		"transmit": func() error { return d.Upstream().Switch(t.Context(), order(6, 6), c.Key) },
	} {
		err := op()
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "AN 2 is taken by a "+side+" key that is not keyorch's (key id 07000000") {
			t.Errorf("%s: %v", side, err)
		}
	}
	if o, err := d.Downstream().Observe(t.Context(), "l1"); err != nil || len(o.Accepts) != 0 {
		t.Errorf("a stranger's key is taken for %v (%v)", o.Accepts, err)
	}
	// Its owner takes it away, and the same call goes through.
	s.RXSCs[0].SAs, s.TXSAs = nil, nil
	if err := d.Downstream().Install(t.Context(), order(6, 6), c.Key); err != nil {
		t.Error(err)
	}
	// An order that came too late does not drive a newer key out.
	if err := d.Downstream().Install(t.Context(), order(2, 2), secrettest.New(t).Key); !fault.Is(err, fault.Refused) || !strings.Contains(fmt.Sprint(err), "taken by epoch 6, which is newer") {
		t.Errorf("an older epoch: %v", err)
	}
}

func TestASenderOutOfPacketNumbersSendsNothing(t *testing.T) {
	f := newFake(secy.GCMAES128, "l1")
	d := f.device(t)
	c := secrettest.New(t)
	ledger := &upstreamtest.Ledger{}
	want := upstream.Want{SA: order(1, 1), Key: keyOf(c)}
	if _, err := upstream.Send(t.Context(), d.Upstream(), "l1", want, ledger); err != nil {
		t.Fatal(err)
	}
	s := f.interfaces["l1"]
	s.TXSAs[0].PN, s.TXSAs[0].Active = 0, false // what Linux does then
	o, err := upstream.Send(t.Context(), d.Upstream(), "l1", want, ledger)
	if !ledger.Lost(1) || !o.Sends.IsZero() || o.Packets[1] != 1<<32-1 {
		t.Errorf("it shows %v (%v), lost %v", o, err, ledger.LostEpochs())
	}
	if err := d.Upstream().Switch(t.Context(), order(1, 1), c.Key); !fault.Is(err, fault.Refused) {
		t.Errorf("switch to a used up key: %v", err)
	}
}

// The teeth: the fake sees a number that is used twice, which happens as soon as
// nobody keeps a ledger.
func TestTheFakeSeesReuse(t *testing.T) {
	f := newFake(secy.GCMAES128, "l1")
	d := f.device(t)
	c := secrettest.New(t)
	for want := range 2 {
		if err := d.Upstream().Switch(t.Context(), order(1, 1), c.Key); err != nil {
			t.Fatal(err)
		}
		if n := f.pass(); n != want {
			t.Errorf("%d numbers were used twice, want %d", n, want)
		}
		f.reboot()
	}
}

func TestKeysDifferBySenderAndSuite(t *testing.T) {
	d := newFake(secy.GCMAES128, "l1").device(t)
	c := secrettest.New(t)
	seen := map[string]bool{}
	for _, suite := range []secy.Suite{secy.GCMAES128, secy.GCMAES256, secy.GCMAESXPN128, secy.GCMAESXPN256} {
		for _, sender := range []secy.SCI{{1}, {2}} {
			m, err := d.derive("install", order(1, 1), c.Key, suite, sender)
			if err != nil {
				t.Fatal(err)
			}
			err = m.use(func(k secy.Key) error {
				if seen[string(k.Bytes[:16])] || len(k.Bytes) != suite.KeySize() || c.Find(k.Bytes) != "" {
					t.Errorf("%v for %v: not a key of its own", suite, sender)
				}
				seen[string(k.Bytes[:16])] = true
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := d.derive("install", order(1, 1), c.Key, 7, secy.SCI{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a suite that nobody knows: %v", err)
	}
}

func TestAnUnprotectedInterfaceIsNotSentOn(t *testing.T) {
	f := newFake(secy.GCMAES128, "l1")
	d := f.device(t)
	f.interfaces["l1"].Protect = false
	_, seen := d.Upstream().Observe(t.Context(), "l1")
	for _, err := range []error{seen, d.Upstream().Switch(t.Context(), order(1, 1), secrettest.New(t).Key)} {
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "ip link set l1 type macsec protect on") {
			t.Errorf("got %v", err)
		}
	}
}
