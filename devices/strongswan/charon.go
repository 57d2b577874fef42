package strongswan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/strongswan/govici/vici"

	"github.com/keyorch/keyorch/fault"
)

// charon is the daemon behind one VICI socket.
type charon struct {
	socket string
	// timeout is how long an answer may take, the work that it is about included.
	timeout time.Duration
	// establishing and ending are of all links together.
	establishing, ending lane
}

// talk is one conversation with charon: a session of its own, so that nothing is
// left of the one before, and operations on other links do not wait. The library
// knows no contexts; here the connections are closed when ctx ends.
type talk struct {
	ctx     context.Context
	charon  charon
	session *vici.Session
	conns   []net.Conn // all of them, before open returns
}

// open begins a conversation. Errors: Unavailable. The caller closes it.
func (c charon) open(ctx context.Context) (*talk, error) {
	t := &talk{ctx: ctx, charon: c}
	session, err := vici.NewSession(vici.WithDialContext(t.dial))
	if err != nil {
		t.hangUp()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		err = fault.Wrap(fault.Unavailable, unwrapped(err), "cannot reach charon at %s", c.socket)
		if errors.Is(err, fs.ErrPermission) {
			err = fault.New(fault.Unavailable, "%w: let the user of the agent open it", err)
		}
		return nil, err
	}
	t.session = session
	return t, nil
}

// dial opens a connection of a session. The library wants two, the second one for
// events without a command, which nobody here waits for: it gets one that leads
// nowhere, since charon lets few clients wait in line.
func (t *talk) dial(context.Context, string, string) (net.Conn, error) {
	if len(t.conns) > 0 {
		conn, nowhere := net.Pipe()
		t.conns = append(t.conns, conn, nowhere)
		return conn, nil
	}
	conn, err := t.charon.connect(t.ctx)
	if err == nil {
		t.conns = append(t.conns, conn)
	}
	return conn, err
}

// inLine is how long to wait before another try when charon's line is full.
const inLine = 10 * time.Millisecond

// connect connects to charon. Its line is short (3 by default), and full when many
// come at once: then they come again.
func (c charon) connect(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", c.socket)
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		select {
		case <-time.After(inLine):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// hangUp closes the connections, whatever the session is doing.
func (t *talk) hangUp() {
	for _, c := range t.conns {
		_ = c.Close()
	}
}

// refusal is what charon answers when it does not do what it was asked to.
type refusal string

func (r refusal) Error() string { return string(r) }

// ask sends a command and waits for the answer. Errors: a refusal, in charon's own
// words, or that of the connection.
func (t *talk) ask(command string, request *vici.Message) (*vici.Message, error) {
	ctx, stop := t.listen()
	defer stop()
	answer, err := t.session.CommandRequest(command, request)
	if answer != nil {
		return answer, refused(answer)
	}
	return nil, t.broken(ctx, err)
}

// stream sends a command and collects the events that come before its answer. The
// answer is the last message. Errors: as ask.
func (t *talk) stream(command, event string, request *vici.Message) ([]*vici.Message, error) {
	ctx, stop := t.listen()
	defer stop()
	messages, err := t.session.StreamedCommandRequest(command, event, request)
	if err != nil {
		return nil, t.broken(ctx, err)
	}
	last := len(messages) - 1 // the library gives the answer at least
	return messages[:last], refused(messages[last])
}

// listen bounds the time for an answer: the connection is closed when it is over,
// or when the conversation's context ends.
func (t *talk) listen() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithTimeout(t.ctx, t.charon.patience())
	free := context.AfterFunc(ctx, t.hangUp)
	return ctx, func() {
		free()
		cancel()
	}
}

// patience is a little more than charon itself is given, so that it can say what it
// was waiting for.
func (c charon) patience() time.Duration { return c.timeout + goodbye }

// broken is why there was no answer.
func (t *talk) broken(ctx context.Context, err error) error {
	switch {
	case t.ctx.Err() != nil:
		return t.ctx.Err()
	case ctx.Err() != nil:
		return fmt.Errorf("no answer within %v", t.charon.patience())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it closed the connection")
	}
	return unwrapped(err)
}

func refused(answer *vici.Message) error {
	if text(answer, "success") != "no" {
		return nil
	}
	return refusal(oneLine(text(answer, "errmsg")))
}

// read asks for something that changes nothing.
func (t *talk) read(what, command, event string, request *vici.Message) ([]*vici.Message, error) {
	var messages []*vici.Message
	var err error
	if event != "" {
		messages, err = t.stream(command, event, request)
	} else {
		var answer *vici.Message
		answer, err = t.ask(command, request)
		messages = []*vici.Message{answer}
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "ask charon at %s for its %s", t.charon.socket, what)
	}
	return messages, nil
}

// change asks for something that changes charon. Without an answer nobody knows
// whether it did.
func (t *talk) change(command string, request *vici.Message) error {
	_, err := t.ask(command, request)
	return t.judge(command, err)
}

// judge gives an error of a changing command its kind. An operator may mend what
// charon refuses, so that is tried again.
func (t *talk) judge(command string, err error) error {
	var no refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return fault.Wrap(fault.Unavailable, err, "charon refuses %s", command)
	}
	return fault.Wrap(fault.Unknown, err, "no answer to %s from charon at %s", command, t.charon.socket)
}

// text is a text in a message, or "".
func text(m *vici.Message, key string) string {
	if m == nil {
		return ""
	}
	s, _ := m.Get(key).(string)
	return s
}

// texts is a list of texts in a message.
func texts(m *vici.Message, key string) []string {
	if m == nil {
		return nil
	}
	list, _ := m.Get(key).([]string)
	return list
}

// message makes a message of names and values: texts, lists of texts, messages.
func message(pairs ...any) *vici.Message {
	m := vici.NewMessage()
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := m.Set(pairs[i].(string), pairs[i+1]); err != nil {
			panic(err) // only for a type that VICI does not have
		}
	}
	return m
}

// milliseconds is how VICI writes a duration.
func milliseconds(d time.Duration) int64 { return max(1, d.Milliseconds()) }

// unwrapped is the cause of an error of the network, without the address, which
// the message has already.
func unwrapped(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// maxWords is how much of what charon says stands in an error.
const maxWords = 200

// oneLine makes what charon says fit into an error.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if r := []rune(s); len(r) > maxWords {
		s = string(r[:maxWords-1]) + "…"
	}
	if s == "" {
		return "it does not say why"
	}
	return s
}
