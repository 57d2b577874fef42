package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// probeTime bounds one answer. It is below the 5 s after which the chart's probes
// give up, so that the reason gets through.
const probeTime = 4 * time.Second

// Probes answer a supervisor. What they return is shown to whoever asks, so it
// names no link, no node and no key.
type Probes struct {
	// Live is nil unless a restart would help.
	Live func(context.Context) error
	// Ready is nil when the process does its work.
	Ready func(context.Context) error
}

// ListenForProbes takes the address as Listen does: then /livez and /readyz answer
// 200 and "ok", or 503 and the reason in a line.
func ListenForProbes(ctx context.Context, address string, p Probes, log *slog.Logger) (*Server, error) {
	mux := http.NewServeMux()
	for path, ask := range map[string]func(context.Context) error{"GET /livez": p.Live, "GET /readyz": p.Ready} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), probeTime)
			defer cancel()
			if err := ask(ctx); err != nil {
				say(w, http.StatusServiceUnavailable, err.Error())
				return
			}
			say(w, http.StatusOK, "ok")
		})
	}
	return listen(ctx, "probes", address, mux, log)
}
