package sim

import (
	"fmt"
	"io"
	"time"
)

// Dump writes all that a network knows, keys included.
func Dump(out io.Writer, w *Network) {
	for _, c := range w.cables {
		for id, p := range c.ports {
			fmt.Fprintln(out, id, p.accepts, p.held, p.sends, p.used)
			for _, k := range p.accepts {
				fmt.Fprintf(out, "%s\n", k.key[:])
			}
		}
		fmt.Fprintln(out, c.inFlight)
	}
}

// AdvanceTo brings every link up to a time of the test's choosing.
func AdvanceTo(w *Network, now time.Time) {
	for _, c := range w.cables {
		c.mu.Lock()
		c.advance(now)
		c.mu.Unlock()
	}
}
