package xfrm

import (
	"context"
	"testing"

	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

func TestUpstreamConformance(t *testing.T) {
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		f := newFake()
		return upstreamtest.Fixture{
			Device:   f.device(t, fields(conformanceLinks...)).Upstream(),
			FailNext: func() { f.next(1, fails) },
			HangNext: func() func() { return f.next(1, hangs) },
			LoseNext: func() { f.next(1, loses) },
			Reboot:   f.reboot,
			Reused:   f.pass,
		}
	})
}

func TestDownstreamConformance(t *testing.T) {
	downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
		f := newFake()
		d := f.device(t, fields(conformanceLinks...))
		return downstreamtest.Fixture{
			Device:   d.Downstream(),
			FailNext: func() { f.next(1, fails) },
			HangNext: func() func() { return f.next(1, hangs) },
			LoseNext: func() { f.next(1, loses) },
			Reboot:   f.reboot,
			Send:     d.Upstream().Switch,
			Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
				o, err := d.Upstream().Observe(ctx, link)
				return o.Sends, err
			},
		}
	})
}
