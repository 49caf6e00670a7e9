package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
)

// maxLine is how long one event may be in a file: more than any lane takes, so
// that the lane, not the reader, says what is wrong with a large one.
const maxLine = 8 << 20

// message is one message to publish and the place where it stands.
type message struct {
	place    string // file:line, or file[index] in an array
	header   map[string][]string
	body     []byte
	end      int64  // where the next one begins in its file; 0: not known
	original []byte // as it stands in the file, or a table's row as JSON
	made     bool   // of a row: that it cannot be read is the row's fault, and no lane's to tell
}

// structuredType is the Content-Type of an event that is one JSON object.
const structuredType = "application/cloudevents+json"

// unmarked is r without a byte order mark, and how long that was.
func unmarked(r io.Reader) (br *bufio.Reader, start int64) {
	br = bufio.NewReaderSize(r, 64<<10)
	if mark, err := br.Peek(3); err == nil && string(mark) == "\ufeff" {
		n, _ := br.Discard(len(mark)) // what was peeked can be discarded
		start = int64(n)
	}
	return br, start
}

// formatOf is what a file of this name holds: json (one document), csv, tsv, or
// ndjson, one value a line.
func formatOf(name string) string {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".json", ".csv", ".tsv":
		return ext[1:]
	default:
		return "ndjson"
	}
}

// lines yields the message of each line.
func lines(name string, br *bufio.Reader, at int64) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for n := 1; ; n++ {
			m := message{place: fmt.Sprintf("%s:%d", name, n)}
			line, read, err := readLine(br)
			at += read
			m.end = at
			ended := errors.Is(err, io.EOF)
			if err != nil && !ended {
				if !yield(m, err) || !errors.Is(err, errLongLine) {
					return
				}
				continue
			}
			if line = bytes.TrimSpace(line); len(line) > 0 {
				m, err = newMessage(m.place, line)
				m.end = at
				if !yield(m, err) {
					return
				}
			}
			if ended {
				return
			}
		}
	}
}

// errLongLine is a line that is passed over.
var errLongLine = fmt.Errorf("the line is longer than %d MiB", maxLine>>20)

// readLine returns one line, in memory of its own, and how many bytes it took. The
// last one comes with io.EOF. Of a line that is too long the rest is skipped.
func readLine(br *bufio.Reader) (line []byte, read int64, err error) {
	long := false
	for {
		part, err := br.ReadSlice('\n')
		read += int64(len(part))
		if long = long || len(line)+len(part) > maxLine; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case long && (err == nil || errors.Is(err, io.EOF)):
			return nil, read, errLongLine // at the end of the file the next read says so again
		default:
			return line, read, err
		}
	}
}

// documents yields the message of a JSON value, or of each element if it is an
// array.
func documents(name string, br *bufio.Reader, start int64) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		dec := json.NewDecoder(br)
		array, blanks, err := opensArray(br)
		if err == nil && array {
			_, err = dec.Token()
		}
		for i := 0; err == nil && (!array || dec.More()); i++ {
			m := message{place: name}
			if array {
				m.place = fmt.Sprintf("%s[%d]", name, i)
			}
			var raw json.RawMessage
			if err = dec.Decode(&raw); err != nil {
				break
			}
			m, problem := newMessage(m.place, raw)
			m.end = start + blanks + dec.InputOffset()
			if !yield(m, problem) {
				return
			}
			if !array {
				break
			}
		}
		if err == nil && array {
			_, err = dec.Token()
		}
		if err == nil {
			err = endsHere(dec)
		}
		if err != nil {
			yield(message{place: name}, fmt.Errorf("%w; a file with one event a line must end in .ndjson", err))
		}
	}
}

// opensArray reports whether the next value is an array, and how many blanks are
// before it.
func opensArray(br *bufio.Reader) (array bool, blanks int64, err error) {
	for ; ; blanks++ {
		c, err := br.ReadByte()
		if err != nil {
			return false, blanks, fmt.Errorf("the file holds no JSON: %w", err)
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c == '[', blanks, br.UnreadByte()
		}
	}
}

// endsHere fails if another value follows.
func endsHere(dec *json.Decoder) error {
	_, err := dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return errors.New("the file holds more than one JSON value")
	}
}

// newMessage makes the message of one value. An object whose headers are an
// object is a recorded message; anything else is sent as it stands, even if it
// is no event: the lane says what is wrong with it.
func newMessage(place string, raw []byte) (message, error) {
	m := message{place: place, header: map[string][]string{"Content-Type": {structuredType}}, body: raw, original: raw}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || !bytes.HasPrefix(members["headers"], []byte("{")) {
		return m, nil //nolint:nilerr // the lane says what is wrong
	}
	var err error
	if m.header, err = recordedHeader(members["headers"]); err != nil {
		return m, err
	}
	body, hasBody := members["body"]
	data, hasData := members["data"]
	switch {
	case hasBody && hasData:
		return m, errors.New("a recorded message has either body or data")
	case hasBody:
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			return m, errors.New("the body of a recorded message must be text; give JSON as data")
		}
		m.body = []byte(text)
	default:
		m.body = data
	}
	return m, nil
}

// recordedHeader reads headers whose values are texts or lists of texts.
func recordedHeader(raw json.RawMessage) (map[string][]string, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return nil, err
	}
	header := make(map[string][]string, len(values))
	for name, value := range values {
		var text string
		var list []string
		switch {
		case json.Unmarshal(value, &text) == nil:
			header[name] = []string{text}
		case json.Unmarshal(value, &list) == nil:
			header[name] = list
		default:
			return nil, fmt.Errorf("header %q of a recorded message must be text or a list of texts", name)
		}
	}
	return header, nil
}
