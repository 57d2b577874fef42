package topology

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// piece is the text of one YAML document and the line before its first.
//
// A line that begins with "---" or "..." ends a document wherever it stands,
// also inside a block of text (YAML 1.2, 9.1.2). So a file can be cut before it
// is parsed, and one document with a syntax error does not hide the others.
type piece struct {
	text  []byte
	above int
}

// pieces cuts data at its document markers.
func pieces(data []byte) []piece {
	var out []piece
	var now piece
	start, line, directives := 0, 0, true
	cut := func(at, above int) {
		if now.text = data[start:at]; len(bytes.TrimSpace(now.text)) > 0 {
			out = append(out, now)
		}
		start, now.above, directives = at, above, true
	}
	for at := 0; at < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		text := data[at:end]
		switch {
		case isMarker(text, "---"):
			if !directives { // "%YAML 1.2" belongs to the document that follows
				cut(at, line)
			}
			directives = false
		case isMarker(text, "..."):
			cut(end, line+1)
		case text[0] != '%' && text[0] != '#' && len(bytes.TrimSpace(text)) > 0:
			directives = false
		}
		at = end
	}
	cut(len(data), line)
	return out
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])))
}

// syntaxError is why a text cannot be read as YAML. Line counts from 1 in the
// text that was given.
type syntaxError struct {
	line    int
	message string
	hint    string
}

// parseYAML gives the documents in text: one, unless a line break that YAML
// knows and pieces does not has hidden a marker.
func parseYAML(text []byte) ([]*yaml.Node, *syntaxError) {
	docs, err := decodeYAML(text)
	if err == nil {
		return docs, nil
	}
	e := &syntaxError{line: 1, message: "this is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		e.line, _ = strconv.Atoi(m[1])
		e.message = "this is not YAML: " + m[2]
		e.line = realLine(text, e.line, m[2])
	}
	if m := yamlAnchor.FindStringSubmatch(err.Error()); m != nil {
		at := max(0, bytes.Index(text, []byte("*"+m[1])))
		e.line = 1 + bytes.Count(text[:at], []byte("\n"))
		e.hint = fmt.Sprintf("put &%s before the value that it stands for, in the same document", m[1])
	}
	for said, hint := range syntaxHints {
		if strings.HasSuffix(e.message, said) {
			e.hint = hint
		}
	}
	if n := tabbedLine(text, e.line); n > 0 {
		e.line, e.hint = n, "the line is indented with a tab: use spaces"
	}
	return nil, e
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: line (\d+): (?s:(.*))$`)
	yamlAnchor = regexp.MustCompile(`unknown anchor '([^']*)' referenced`)
)

// syntaxHints say what to do about what the parser says.
var syntaxHints = map[string]string{
	"did not find expected key":                      "indent the line like its neighbours",
	"did not find expected '-' indicator":            "indent the line like its neighbours",
	"did not find expected ',' or ']'":               "close the bracket",
	"did not find expected ',' or '}'":               "close the brace",
	"found unexpected end of stream":                 "close the quote",
	"found incompatible YAML document":               "take the %YAML line out",
	"could not find expected ':'":                    "write a field as \"name: value\"",
	"mapping values are not allowed in this context": "put a text that has \": \" in it in quotes",
}

// decodeYAML turns a panic of the YAML parser into an error: malformed input
// has made it panic before, and it must not end a worker.
func decodeYAML(text []byte) (docs []*yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			docs, err = nil, errors.New("the parser gave up on it")
		}
	}()
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var n yaml.Node
		switch err := dec.Decode(&n); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, err
		}
		docs = append(docs, &n)
	}
}

// realLine makes good for what the parser says about where an error is. It
// counts grammar errors from zero, and for a block it names the line where the
// block began: the offending line is then the first with which the error is
// there.
func realLine(text []byte, line int, message string) int {
	switch {
	case message == "did not find expected key", message == "did not find expected '-' indicator":
		lines := bytes.SplitAfter(text, []byte("\n"))
		low, high := max(line-1, 0), len(lines) // the error is not in lines[:low], it is in lines[:high]
		for low+1 < high {
			mid := (low + high) / 2
			if _, err := decodeYAML(bytes.Join(lines[:mid], nil)); err != nil && strings.HasSuffix(err.Error(), message) {
				high = mid
			} else {
				low = mid
			}
		}
		return high
	case strings.HasPrefix(message, "did not find expected"):
		line++
	}
	return min(line, max(1, bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))+1))
}

// tabbedLine is the given line, or the one after it, if it is indented with a
// tab; zero otherwise.
func tabbedLine(text []byte, line int) int {
	lines := bytes.Split(text, []byte("\n"))
	for n := line; n <= min(line+1, len(lines)); n++ {
		body := bytes.TrimLeft(lines[n-1], " \t")
		if len(body) > 0 && bytes.ContainsRune(lines[n-1][:len(lines[n-1])-len(body)], '\t') {
			return n
		}
	}
	return 0
}

// textOf is data without its byte order mark, or why it is no text.
func textOf(data []byte) ([]byte, *syntaxError) {
	if len(data) > MaxSource {
		return nil, &syntaxError{message: errTooLarge.Error(), hint: "split it into several files"}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for at, line := 0, 1; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		switch {
		case r == utf8.RuneError && size == 1:
			return nil, &syntaxError{line: line, message: "this is not UTF-8 text", hint: "save the file as UTF-8"}
		case r == '\n':
			line++
		}
		at += size
	}
	return data, nil
}
