// Guestd is what the tests on the host have in the guest to act for them. Package
// guest puts it there and speaks to it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/keyorch/keyorch/e2e/devices/guest/protocol"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

func main() {
	d := &daemon{processes: map[int]*process{}, flows: map[int]*testbed.Flow{}}
	mux := http.NewServeMux()
	mux.Handle(protocol.Ping, handle(func(context.Context, protocol.Empty) (protocol.Empty, error) { return protocol.Empty{}, nil }))
	mux.Handle(protocol.Exec, handle(execute))
	mux.Handle(protocol.Spawn, handle(d.spawn))
	mux.Handle(protocol.Look, handle(d.look))
	mux.Handle(protocol.Signal, handle(d.signal))
	mux.Handle(protocol.Read, handle(read))
	mux.Handle(protocol.Write, handle(write))
	mux.Handle(protocol.Clock, handle(setClock))
	mux.Handle(protocol.Flow, handle(d.flow))
	mux.Handle(protocol.Mark, handle(d.mark))
	mux.Handle(protocol.Arrived, handle(d.arrived))
	mux.Handle(protocol.Since, handle(d.since))
	mux.Handle(protocol.Stop, handle(d.stop))
	log.Fatal(http.ListenAndServe(fmt.Sprintf(":%d", protocol.Port), mux))
}

// daemon keeps what goes on in the background, by ID.
type daemon struct {
	mu        sync.Mutex
	last      int
	processes map[int]*process
	flows     map[int]*testbed.Flow
}

// keep gives a thing its ID.
func keep[T any](d *daemon, all map[int]T, thing T) protocol.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	all[d.last] = thing
	return protocol.ID{ID: d.last}
}

func find[T any](d *daemon, all map[int]T, id int) (T, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	thing, ok := all[id]
	if !ok {
		return thing, fmt.Errorf("there is nothing with ID %d", id)
	}
	return thing, nil
}

// handle makes an HTTP handler of a call.
func handle[In, Out any](call func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := call(r.Context(), in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(out) // a caller that went away needs no answer
	})
}

func read(_ context.Context, f protocol.File) (protocol.File, error) {
	data, err := os.ReadFile(f.Path)
	return protocol.File{Path: f.Path, Data: data}, err
}

func write(_ context.Context, f protocol.File) (protocol.Empty, error) {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return protocol.Empty{}, err
	}
	return protocol.Empty{}, os.WriteFile(f.Path, f.Data, os.FileMode(f.Mode))
}

func setClock(_ context.Context, t protocol.Time) (protocol.Empty, error) {
	tv := syscall.NsecToTimeval(t.Now.UnixNano())
	return protocol.Empty{}, syscall.Settimeofday(&tv)
}
