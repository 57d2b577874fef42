package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// maxMessage is the longest request or answer, in bytes.
const maxMessage = 1 << 20

// Serve lets other processes operate the nodes of w over l, until ctx ends; then
// it closes l and returns nil. Each request is one JSON object over HTTP; a
// caller that goes away cancels its operation. Whoever can open l can operate
// every node, so a socket belongs in a directory of its owner's.
func (w *Network) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/operate", w.serveOperation)
	mux.HandleFunc("GET /v1/stats", w.serveStats)
	srv := &http.Server{
		Handler:           http.MaxBytesHandler(mux, maxMessage),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err := srv.Serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, err, "serve the simulated network")
}

// reply is an answer, or how it failed.
type reply struct {
	Answer answer `json:"answer"`
	Kind   string `json:"kind,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (w *Network) serveOperation(rw http.ResponseWriter, hr *http.Request) {
	var r request
	if err := json.NewDecoder(hr.Body).Decode(&r); err != nil {
		http.Error(rw, "not a request", http.StatusBadRequest)
		return
	}
	var out reply
	a, err := w.do(hr.Context(), r)
	clear(r.Tag)
	if err != nil {
		out.Kind, out.Error = fault.Of(err).String(), err.Error()
	} else {
		out.Answer = a
	}
	_ = json.NewEncoder(rw).Encode(out)
}

func (w *Network) serveStats(rw http.ResponseWriter, _ *http.Request) {
	all := map[keychain.LinkID]Stats{}
	for _, link := range w.Links() {
		all[link] = w.Stats(link)
	}
	_ = json.NewEncoder(rw).Encode(all)
}

// Remote is a network in another process.
type Remote struct {
	path   string
	client *http.Client
}

// Dial names a network that is served at a Unix socket, in the form
// "unix:///path". It connects when it is first used. Errors: Invalid.
func Dial(address string) (*Remote, error) {
	path, err := socketPath(address)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "dial the simulated network")
	}
	return &Remote{path: path, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     10 * time.Second,
	}}}, nil
}

func socketPath(address string) (string, error) {
	path, ok := strings.CutPrefix(address, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return "", errors.New(`the address of a network has the form "unix:///path"`)
	}
	return path, nil
}

// Device operates a node of the network, which is made with these options when
// it is first used.
func (r *Remote) Device(id keychain.NodeID, o NodeOptions) *Device {
	return &Device{id: id, net: r, options: &o, capabilities: o.capabilities}
}

// Stats is what happened up to now on every link that was ever used. Errors:
// Unavailable.
func (r *Remote) Stats(ctx context.Context) (map[keychain.LinkID]Stats, error) {
	var all map[keychain.LinkID]Stats
	err := r.call(ctx, http.MethodGet, "/v1/stats", nil, &all)
	return all, fault.Wrap(fault.Unavailable, err, "read the counts of the network at %s", r.path)
}

// Close lets go of idle connections.
func (r *Remote) Close() { r.client.CloseIdleConnections() }

func (r *Remote) do(ctx context.Context, req request) (answer, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return answer{}, fault.Wrap(fault.Invalid, err, "%s on %s", req.Op, req.Node)
	}
	var out reply
	err = r.call(ctx, http.MethodPost, "/v1/operate", body, &out)
	var dial *net.OpError
	switch {
	case err == nil && out.Error == "":
		return out.Answer, nil
	case err == nil:
		return answer{}, fault.New(fault.ParseKind(out.Kind), "%s", out.Error)
	case ctx.Err() != nil:
		return answer{}, ended(ctx, req.Op, req.Node)
	case req.Op == OpObserve, errors.As(err, &dial) && dial.Op == "dial": // nothing happened
		return answer{}, fault.Wrap(fault.Unavailable, err, "%s on %s: the network at %s does not answer", req.Op, req.Node, r.path)
	}
	return answer{}, fault.Wrap(fault.Unknown, err, "%s on %s", req.Op, req.Node)
}

func (r *Remote) call(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://network"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return json.NewDecoder(io.LimitReader(res.Body, maxMessage)).Decode(out)
}
