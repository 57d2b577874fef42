package store

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
)

// An idle watch hears how far etcd is only when somebody asks, and etcd answers a stream
// once all watches on it are that far. The client has one stream for all watches, and when
// one is given up just as it is resumed after a lost connection, etcd keeps it: on an etcd
// that was put back it waits for a revision that is yet to come, and no question on its
// stream is answered until then. So whoever asks has a stream for each of its watches, and
// a new one whenever it watches anew.

// asker is a follower that asks how far its watch is.
type asker interface {
	// watchesOn gives the context that stands for the stream of the watch, until it ends.
	watchesOn(stream context.Context)
}

// ownStream has the watches of a context on a stream of their own: the client tells
// streams apart by what they say to etcd.
func (s *Store) ownStream(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "keyorch-stream", strconv.FormatInt(s.streams.Add(1), 10))
}

// progress asks etcd how far it is, for the watches of a stream.
func (s *Store) progress(stream context.Context) {
	if stream.Err() != nil {
		return // the client would open it again
	}
	ctx, cancel := context.WithTimeout(stream, time.Second)
	defer cancel()
	_ = s.client.RequestProgress(ctx) // asked again by whoever still waits
}
