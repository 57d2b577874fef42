package bird

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/keyorch/keyorch/fault"
)

const (
	// patience is how long BIRD may take to answer one command: it answers
	// "configure" when it has read all of its configuration.
	patience = 30 * time.Second
	// maxReply is the longest answer that is read, in bytes.
	maxReply = 1 << 20
	// maxWords is how much of BIRD's own words is shown, in characters.
	maxWords = 200
)

// socket is a connection to BIRD's control socket.
type socket struct {
	conn net.Conn
	in   *bufio.Reader
	path string
}

// dial connects and reads the greeting. Errors: Unavailable.
func dial(ctx context.Context, path string) (*socket, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, unreachable(path, err)
	}
	s := &socket{conn: conn, in: bufio.NewReader(conn), path: path}
	if _, err := s.hear(ctx); err != nil {
		s.close()
		return nil, fault.Wrap(fault.Unavailable, err, "cannot reach bird at %s", path)
	}
	return s, nil
}

func (s *socket) close() { _ = s.conn.Close() }

// unreachable says why in the words of the system, and what to do about it.
func unreachable(path string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	if errors.Is(err, syscall.EACCES) {
		return fault.Wrap(fault.Unavailable, err, "cannot reach bird at %s: let the agent's user into the group of the socket", path)
	}
	return fault.Wrap(fault.Unavailable, err, "cannot reach bird at %s", path)
}

// ask sends one command and reads the answer to it. An error is of kind Unknown:
// the command may have been carried out.
func (s *socket) ask(ctx context.Context, command string) (reply, error) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := s.conn.Write([]byte(command + "\n")); err != nil {
		return reply{}, fault.New(fault.Unknown, "bird closed its control socket before %q", command)
	}
	r, err := s.hear(ctx)
	return r, fault.Wrap(fault.Unknown, err, "bird did not answer %q", command)
}

// hear reads one answer, and gives up when ctx ends.
func (s *socket) hear(ctx context.Context) (reply, error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	r, err := readReply(s.in)
	switch {
	case err != nil && ctx.Err() != nil:
		return r, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return r, fmt.Errorf("nothing came for %v", patience)
	}
	return r, err
}

// reply is an answer: the code of its last line, and the text of all lines.
type reply struct {
	code  int
	lines []string
}

// Codes of BIRD 2; those from 8000 are errors.
const (
	codeConfirmed = 18
	codeNothing   = 19
	firstError    = 8000
)

func (r reply) failed() bool { return r.code >= firstError }

// last is the text that says how it ended.
func (r reply) last() string {
	if len(r.lines) == 0 {
		return ""
	}
	return printable(r.lines[len(r.lines)-1])
}

// readReply reads lines up to one with "CODE text": before it there may be
// "CODE-text", and " text" that goes on with the same code.
func readReply(in *bufio.Reader) (reply, error) {
	var r reply
	for size := 0; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return r, errors.New("it closed the connection")
		}
		if size += len(line); size > maxReply {
			return r, fmt.Errorf("its answer is longer than %d bytes", maxReply)
		}
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "+") { // a message for whoever follows the log
			continue
		}
		if text, more := strings.CutPrefix(line, " "); more {
			r.lines = append(r.lines, text)
			continue
		}
		code, err := strconv.ParseUint(line[:min(4, len(line))], 10, 16)
		if err != nil || len(line) < 5 || line[4] != ' ' && line[4] != '-' {
			return r, errors.New("its answer is not one of BIRD's")
		}
		r.code, r.lines = int(code), append(r.lines, line[5:])
		if line[4] == ' ' {
			return r, nil
		}
	}
}

// constant is what the running daemon has loaded as a constant; empty when it has
// no such constant. Errors: Unavailable.
func (s *socket) constant(ctx context.Context, symbol string) (string, error) {
	r, err := s.ask(ctx, "eval "+symbol)
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "cannot ask bird at %s what it has loaded", s.path)
	}
	if r.failed() {
		return "", nil // the symbol is undefined
	}
	return strings.Trim(r.last(), `"`), nil
}

// printable is text without what a terminal might act on, cut short.
func printable(text string) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case unicode.IsPrint(c) && c != unicode.ReplacementChar:
			return c
		}
		return -1
	}, text)
	return strings.TrimSpace(text)
}

// words are BIRD's own words for an error message.
func words(r reply) string {
	said := []rune(r.last())
	if len(said) == 0 {
		return fmt.Sprintf("code %04d", r.code)
	}
	return string(said[:min(len(said), maxWords)])
}
