package client

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Session is one NETCONF session. It carries one request at a time and is not
// safe for concurrent use, but for Close and Dead.
//
// After any error that is not an *RPCError the session is dead: what it asked for
// last may or may not have been done.
type Session struct {
	hello  hello
	framer *framer
	close  func()
	dead   <-chan struct{} // closed when the device has ended the session
	id     int             // of the last request
	hidden []byte          // what no error may quote
	broken bool
}

// start exchanges hellos over rw. close ends the transport, and must make a read
// in progress return; dead is closed when the transport has ended.
func start(ctx context.Context, rw io.ReadWriter, closer func(), dead <-chan struct{}) (*Session, error) {
	s := &Session{framer: newFramer(rw), close: closer, dead: dead}
	err := s.within(ctx, func() error {
		if err := s.framer.write([]byte(ourHello)); err != nil {
			return err
		}
		message, err := s.framer.read()
		if err != nil {
			return err
		}
		s.hello, err = parseHello(message)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.framer.chunked = slices.Contains(s.hello.Capabilities, base11)
	return s, nil
}

// within runs f, and makes it return when ctx ends. Any error of f breaks the
// session.
func (s *Session) within(ctx context.Context, f func() error) error {
	stop := context.AfterFunc(ctx, s.close)
	err := f()
	if !stop() || ctx.Err() != nil {
		s.broken = true
		s.close()
		return ctx.Err()
	}
	if err != nil {
		s.broken = true
		s.close()
	}
	return err
}

// Can reports whether the device advertises a capability. One that ends in ':' is
// meant in any version.
func (s *Session) Can(capability string) bool {
	return slices.ContainsFunc(s.hello.Capabilities, func(c string) bool {
		c, _, _ = strings.Cut(c, "?")
		return c == capability || strings.HasSuffix(capability, ":") && strings.HasPrefix(c, capability)
	})
}

// Hide names a text that no error of this session may quote from here on: the key
// in a request. The caller clears it after Hide(nil).
func (s *Session) Hide(text []byte) { s.hidden = text }

// Dead reports that the session has ended, or that nothing can be said of it any
// more.
func (s *Session) Dead() bool {
	select {
	case <-s.dead:
		return true
	default:
		return s.broken
	}
}

// Close ends the session. What it had locked is unlocked, what it had changed in
// the candidate is discarded, and a commit that it had not confirmed is undone
// (RFC 6241, sections 7.5, 8.3.5 and 8.4).
func (s *Session) Close() { s.close() }

// reply is an rpc-reply.
type reply struct {
	XMLName xml.Name   `xml:"urn:ietf:params:xml:ns:netconf:base:1.0 rpc-reply"`
	ID      string     `xml:"message-id,attr"`
	OK      *struct{}  `xml:"ok"`
	Errors  []rpcError `xml:"rpc-error"`
	Data    payload    `xml:"data"`
}

// payload is the data of a reply: where it goes, and whether there was any.
type payload struct {
	into any // a pointer to a struct, or nil
	seen bool
}

// UnmarshalXML implements xml.Unmarshaler.
func (p *payload) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	p.seen = true
	if p.into == nil {
		return d.Skip()
	}
	return d.DecodeElement(p.into, &start)
}

// errNoAnswer is a reply from which nothing can be learned.
var errNoAnswer = errors.New("the reply of the device is neither what was asked for nor an error")

// call sends one request and reads its reply. With data it wants data back, and
// an ok without.
func (s *Session) call(ctx context.Context, request []byte, data any) error {
	if s.Dead() {
		s.broken = true
		return fmt.Errorf("the device ended the session: %w", io.ErrUnexpectedEOF)
	}
	if err := ctx.Err(); err != nil {
		return err // nothing was sent: the session is as good as before
	}
	s.id++
	message := fmt.Appendf(make([]byte, 0, len(request)+256), declaration+`<rpc xmlns="%s" message-id="%d">`, Namespace, s.id)
	message = append(message, request...)
	message = append(message, "</rpc>"...)
	defer clear(message)
	r := reply{Data: payload{into: data}}
	err := s.within(ctx, func() error {
		if err := s.framer.write(message); err != nil {
			return fmt.Errorf("send a request: %w", ended(err))
		}
		if s.id == 1 {
			defer s.prod()()
		}
		answer, err := s.framer.read()
		if err != nil {
			return err
		}
		defer clear(answer)
		return s.decode(answer, &r)
	})
	if err != nil {
		return err
	}
	for _, e := range r.Errors {
		if e.Severity != "warning" {
			return e.shown(s.hidden)
		}
	}
	return nil
}

// prodding is how long the first reply of a session may take before the device is
// prodded, again and again.
const prodding = time.Second

// prod sends the beginning of the next request ahead, a byte at a time, until stop
// is called. netconfd reads the first request together with our hello when it is
// slow, and does not look at it before it has something more to read. For others it
// is what it is: a request of which the rest is to come.
func (s *Session) prod() (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		again := time.NewTicker(prodding)
		defer again.Stop()
		for {
			select {
			case <-done:
				return
			case <-again.C:
				_ = s.framer.prod() // whoever reads sees that the session has ended
			}
		}
	}()
	return func() {
		close(done)
		<-over
	}
}

// decode reads a reply, and wants it to be the one to the last request.
func (s *Session) decode(answer []byte, r *reply) error {
	if err := xml.Unmarshal(answer, r); err != nil {
		return errors.New("what the device sent is not an rpc-reply that can be read")
	}
	failed := slices.ContainsFunc(r.Errors, func(e rpcError) bool { return e.Severity != "warning" })
	switch {
	case r.ID != strconv.Itoa(s.id):
		return errors.New("the device answered another request than the one that was sent")
	case failed:
	case r.Data.into == nil && r.OK == nil, r.Data.into != nil && !r.Data.seen:
		return errNoAnswer
	}
	return nil
}
