package bird

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// What BIRD 2.0.12 prints, without the codes.
const (
	protocols = `Name       Proto      Table      State  Since         Info
device1    Device     ---        up     09:35:03.254
o1         OSPF       master4    up     09:35:03.254  Running
o2         OSPF       master4    down   09:35:03.254
bfd1       BFD        ---        up     09:35:03.254`
	neighbors = `o1:
Router ID   	Pri	     State     	DTime	Interface  Router IP
10.9.0.2	  1	Full/PtP  	3.142	va         10.9.0.2
10.9.0.3	  1	Init/PtP  	3.142	va         10.9.0.3`
	interfaces = `o1:
Interface va (10.9.0.0/24)
	Type: ptp
	Hello timer: 1
	Dead timer: 4
Interface vb (10.9.1.0/24)
	Dead timer: 40`
	sessions = `bfd1:
    IP address                Interface  State      Since         Interval  Timeout
    10.9.0.2                  va         Up         09:35:04.254    0.200    1.000
    10.9.0.4                  va         Up         2026-11-27 09:35    0.200    0.500
    10.9.0.3                  va         Down       09:35:04.254    0.200    0.000`
)

func TestNeighboursThatAreUpAreFound(t *testing.T) {
	lines := func(text string) []string { return strings.Split(text, "\n") }
	if found := protocolsIn(lines(protocols)); len(found) != 3 || found["o1"] != "OSPF" || found["bfd1"] != "BFD" {
		t.Errorf("protocols: %v", found)
	}
	want := []peer{{protocol: ospf, address: "10.9.0.2", iface: "va", notices: 4 * time.Second, tells: time.Second}}
	if got := neighborsIn(lines(neighbors), timersIn(lines(interfaces))); !slices.Equal(got, want) {
		t.Errorf("neighbours: %+v", got)
	}
	want = []peer{
		{protocol: bfd, address: "10.9.0.2", iface: "va", since: "09:35:04.254", notices: time.Second},
		{protocol: bfd, address: "10.9.0.4", iface: "va", since: "2026-11-27 09:35", notices: 500 * time.Millisecond},
	}
	got := sessionsIn(lines(sessions))
	if !slices.Equal(got, want) {
		t.Errorf("sessions: %+v", got)
	}
	if quoted("o1") != "o1" || quoted("my-ospf'") != "'my-ospf'" {
		t.Error("names of protocols")
	}
}

// Of neighbours that are lost together the first is named, and BFD is why OSPF is.
func TestTheNeighboursOfBFDAreTheFirst(t *testing.T) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	go func() {
		answers := map[string]string{
			"show protocols": protocols, "show ospf neighbors o1": neighbors, "show ospf interface o1": interfaces, "show bfd sessions bfd1": sessions,
		}
		asked := bufio.NewScanner(theirs)
		for last := ""; asked.Scan(); last = asked.Text() {
			if strings.HasPrefix(asked.Text(), "show ospf") && strings.HasPrefix(last, "show bfd") {
				t.Errorf("%q comes after %q", asked.Text(), last)
			}
			_, _ = fmt.Fprintf(theirs, "1000-%s\n0000 \n", strings.ReplaceAll(answers[asked.Text()], "\n", "\n "))
		}
	}()
	s := &socket{conn: ours, in: bufio.NewReader(ours)}
	for range 50 { // protocols come in no order
		all, err := s.peers(t.Context(), segment{protocols: []string{ospf, bfd}})
		if err != nil || len(all) != 3 || all[0].protocol != bfd || all[1].protocol != bfd || all[2].protocol != ospf {
			t.Fatalf("%v (%v)", all, err)
		}
	}
}

func TestASessionThatCameBackIsAnother(t *testing.T) {
	for _, c := range []struct {
		before, now string
		same        bool
	}{
		{"09:35:04.254", "09:35:04.254", true},
		{"09:35:04.254", "09:35:04.255", true}, // BIRD's clocks
		{"09:35:04.254", "09:36:00.000", false},
		{"09:35:04.254", "2026-11-27", true}, // its time is not shown any more
		{"2026-11-27", "2026-11-27", true},
		{"2026-11-27", "09:36:00.000", false},
		{"2026-11-28 09:35:04", "2026-11-28 09:36:04", false},
		{"a while", "a while", true},
		{"", "", true}, // OSPF
	} {
		if got := (peer{since: c.before}).same(peer{since: c.now}); got != c.same {
			t.Errorf("%q, then %q: %v", c.before, c.now, got)
		}
	}
	if (peer{iface: "va"}).same(peer{iface: "vb"}) || (peer{address: "a"}).same(peer{address: "b"}) || (peer{protocol: bfd}).same(peer{protocol: ospf}) {
		t.Error("other sessions count as the same")
	}
}

func TestWatchingLastsAsLongAsALossTakesToShow(t *testing.T) {
	o := func(d time.Duration) peer { return peer{protocol: ospf, notices: d, tells: d / 4} }
	b := peer{protocol: bfd, notices: time.Second}
	for _, c := range []struct {
		before []peer
		want   time.Duration
	}{
		{[]peer{o(0)}, time.Second},
		{[]peer{o(40 * time.Second), b}, 2 * time.Second},
		{[]peer{o(4 * time.Second)}, 6 * time.Second}, // noticed after 4, told after 5
		{[]peer{o(6 * time.Second)}, 8 * time.Second}, // as far as there is time
		{[]peer{o(40 * time.Second)}, 0},
		{[]peer{{protocol: bfd, notices: time.Hour}}, 8 * time.Second},
	} {
		if got := watching(c.before, 8*time.Second); got != c.want {
			t.Errorf("%v: %v, want %v", c.before, got, c.want)
		}
	}
}
