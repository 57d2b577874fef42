// Package client is a small NETCONF client: hello, both framings, one request at
// a time, and the operations that a careful change of configuration is made of
// (RFC 6241, RFC 6242). It runs over SSH with a pinned host key and a private
// key; there is no way to do without either.
//
// It keeps to what a driver of devices needs, and is strict where a mistake would
// be silent: a reply must carry the number of its request, an rpc-error is an
// error, and no message grows without bound. What a device writes in an rpc-error
// is shown, but never with a part of the key that was sent (see Session.Hide).
package client
