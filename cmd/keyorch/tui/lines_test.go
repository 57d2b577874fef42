package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told is what a sequence of screens and errors is in lines.
func told(steps ...any) string {
	var p printer
	var b strings.Builder
	for i, step := range steps {
		now := noon.Add(time.Duration(i) * time.Second)
		var lines []string
		switch step := step.(type) {
		case Screen:
			step.Now = now
			lines = p.lines(step, nil, now)
		case error:
			lines = p.lines(Screen{}, step, now)
		}
		_, _ = fmt.Fprintf(&b, "# screen %d\n", i+1)
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

func TestLinesSayWhatHasChanged(t *testing.T) {
	more := runningScreen()
	more.Held = heldLinks(14)
	more.Waves = append([]Wave{}, more.Waves...)
	more.Waves[1].Tally = Tally{Total: 99, Rotated: 60, InFlight: 10, Held: 14}
	away := errors.New("read everything from etcd:\n\x1b[2Jconnection refused")
	golden(t, "lines.txt", told(
		runningScreen(), runningScreen(), more, more, soakingScreen(), soakingScreen(), pausedScreen(),
		away, away, pausedScreen(), endedScreen(), fleetScreen(), fleetScreen(), hostile(),
	))
}

// steps is a source that gives one after the other, and then ends the test.
type steps struct {
	fakeSource
	list []any
	end  func()
}

func (s *steps) Screen(context.Context) (Screen, error) {
	next := s.list[0]
	if s.list = s.list[1:]; len(s.list) == 0 {
		s.end()
	}
	if err, ok := next.(error); ok {
		return Screen{}, err
	}
	return next.(Screen), nil
}

func TestLinesEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out bytes.Buffer
		began := time.Now()
		s := &steps{list: []any{runningScreen(), runningScreen(), soakingScreen(), fleetScreen()}, end: cancel}
		if err := Lines(ctx, &out, s, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("it asked every %v, not 3s", took/3)
		}
		if n := strings.Count(out.String(), "\n"); n != 5 { // running, its three held links, soaking
			t.Errorf("%d lines:\n%s", n, &out)
		}
	})
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestLinesEndWhenNobodyReads(t *testing.T) {
	err := Lines(t.Context(), closedPipe{}, &fakeSource{screen: runningScreen()}, time.Hour)
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("it ends with %v", err)
	}
}
