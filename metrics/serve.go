package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// The limits of the server: it answers scrapes, and nobody may occupy it.
const (
	requestTime = 5 * time.Second
	replyTime   = 15 * time.Second
	idleTime    = 2 * time.Minute
	headerBytes = 8 << 10
	goodbyeTime = 2 * time.Second
)

// Server answers on one address, either scrapes or probes: see Listen and
// ListenForProbes.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen takes the address, "127.0.0.1:9090" or ":9090", and answers nothing yet:
// then /metrics with the metrics, /healthz with "ok" for as long as the process
// runs, and nothing else. A port of 0 is any free one. Faults: Invalid for what is
// no address, or none of this host's; Refused when the port is taken or not
// allowed.
func Listen(ctx context.Context, address string, metrics http.Handler, log *slog.Logger) (*Server, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	return listen(ctx, "metrics", address, mux, log)
}

// say writes one line. Whoever has hung up needs no answer.
func say(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, line+"\n")
}

func listen(ctx context.Context, what, address string, pages http.Handler, log *slog.Logger) (*Server, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fault.New(fault.Invalid, "listen for %s on %q: it is not an address: use HOST:PORT, or :PORT for every address of this host", what, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fault.New(fault.Invalid, "listen for %s on %q: %q is not a port: use a number up to 65535", what, address, port)
	} else if n == 0 && port != "0" {
		return nil, fault.New(fault.Invalid, "listen for %s on %q: the port is missing", what, address)
	}
	var conf net.ListenConfig
	l, err := conf.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Refused, "listen for %s on %s: another process has that port: choose another", what, address)
	case errors.Is(err, syscall.EACCES):
		return nil, fault.New(fault.Refused, "listen for %s on %s: this user may not: choose a port from 1024 on", what, address)
	case err != nil:
		return nil, fault.New(fault.Invalid, "listen for %s on %s: this host has no such address", what, address)
	}
	return &Server{listener: l, server: &http.Server{
		Handler: pages, ReadHeaderTimeout: requestTime, ReadTimeout: requestTime, WriteTimeout: replyTime, IdleTimeout: idleTime,
		MaxHeaderBytes: headerBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// Address is where it answers.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close gives the address back when Run has never been called.
func (s *Server) Close() error { return s.listener.Close() }

// Run answers until ctx ends, and returns nil then. It fails with Unavailable when
// the listener breaks.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTime)
		defer cancel()
		if s.server.Shutdown(end) != nil {
			_ = s.server.Close() // those that did not finish are cut off
		}
	})
	err := s.server.Serve(s.listener)
	if stop() {
		return fault.Wrap(fault.Unavailable, err, "answer on %s", s.Address())
	}
	<-stopped
	return nil
}
