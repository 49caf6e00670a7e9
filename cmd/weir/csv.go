package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"unicode/utf8"
)

// rows yields the event of each row of a table. shown is told what its columns
// become, before the first row. The error of a row is its own; one that ends the
// table is fatal.
func rows(name string, br *bufio.Reader, start int64, tabs bool, spec tableSpec, shown func(delimiter rune, p columnPlan)) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		delimiter, err := delimiterOf(br, tabs)
		if err != nil {
			yield(message{place: name}, fatal{err})
			return
		}
		in := &textReader{r: br, line: 1}
		r := csv.NewReader(in)
		r.Comma, r.FieldsPerRecord = delimiter, -1
		headers, err := r.Read()
		if err != nil {
			yield(message{place: name}, fatal{tableError(err, "the table has no header line")})
			return
		}
		headers = trimCells(headers)
		p, err := newColumnPlan(headers, spec)
		if err != nil {
			yield(message{place: name + ":1"}, fatal{err})
			return
		}
		shown(delimiter, p)
		in.bound = r.InputOffset() + maxLine
		for {
			cells, err := r.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			m := message{end: start + r.InputOffset(), made: true}
			in.bound = r.InputOffset() + maxLine
			var line int
			if broken, ok := errors.AsType[*csv.ParseError](err); ok {
				line = broken.StartLine
			} else if err != nil {
				yield(message{place: name}, fatal{err})
				return
			} else {
				line, _ = r.FieldPos(0)
			}
			m.place = fmt.Sprintf("%s:%d", name, line)
			if err != nil {
				if !yield(m, tableError(err, "")) {
					return
				}
				continue
			}
			cells = trimCells(cells)
			if strings.Join(cells, "") == "" {
				continue
			}
			m.original, _ = json.Marshal(rowOf(headers, cells)) // texts always encode
			m.header = map[string][]string{"Content-Type": {structuredType}}
			m.body, err = p.event(cells, spec)
			if !yield(m, err) {
				return
			}
		}
	}
}

// fatal is an error after which a file is not read on.
type fatal struct{ error }

func (e fatal) Unwrap() error { return e.error }

// tableError says what is wrong with a row, or why there is none.
func tableError(err error, none string) error {
	switch {
	case errors.Is(err, io.EOF) && none != "":
		return errors.New(none)
	case errors.Is(err, csv.ErrQuote):
		return errors.New("a quote that is opened in this row is not closed, or a letter follows a closing one")
	case errors.Is(err, csv.ErrBareQuote):
		return errors.New(`a quote stands inside a cell that has none around it; put quotes around the cell and write it twice: "5"" screen"`)
	default:
		return err
	}
}

func trimCells(cells []string) []string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = strings.TrimSpace(c)
	}
	return out
}

// rowOf is a row as a person may correct it: its cells by header.
func rowOf(headers, cells []string) map[string]string {
	row := make(map[string]string)
	for i, c := range cells {
		name := fmt.Sprintf("column %d", i+1)
		if i < len(headers) && headers[i] != "" {
			name = headers[i]
		}
		row[name] = c
	}
	return row
}

// event makes the event of a row. A cell without text is no member. Without an id
// of its own the event has that of its content, so that the same row is the same
// event, wherever it stands.
func (p columnPlan) event(cells []string, spec tableSpec) ([]byte, error) {
	for i := len(p.columns); i < len(cells); i++ {
		if cells[i] != "" {
			return nil, fmt.Errorf("the row has %d cells, and the header %d: is a cell with the delimiter in it not in quotes?", len(cells), len(p.columns))
		}
	}
	if len(cells) < len(p.columns) {
		return nil, fmt.Errorf("the row has %d cells, and the header %d", len(cells), len(p.columns))
	}
	data := make(map[string]any)
	ev := map[string]any{"specversion": "1.0", "datacontenttype": "application/json", "data": data}
	if spec.source != "" {
		ev["source"] = spec.source
	}
	ev["type"] = spec.eventType
	for i, c := range p.columns {
		for _, m := range c.to {
			if cells[i] == "" {
				if m.to == "id" {
					return nil, fmt.Errorf("column %q is empty, and the event's id comes from it", c.header)
				}
				continue
			}
			v, err := m.value(cells[i])
			if err != nil {
				return nil, err
			}
			put(ev, m.to, v)
		}
	}
	if p.idFrom == "" {
		content, err := json.Marshal(ev) // members in their order
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		ev["id"] = "row-" + hex.EncodeToString(sum[:16])
	}
	if p.wantData {
		data["id"] = ev["id"]
	}
	return json.Marshal(ev)
}

// put sets a member by its path.
func put(ev map[string]any, path string, v any) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		inner, ok := ev[name].(map[string]any)
		if !ok {
			inner = make(map[string]any)
			ev[name] = inner
		}
		ev = inner
	}
	ev[names[len(names)-1]] = v
}

// legible fails if a file is not UTF-8.
func legible(r io.Reader) error {
	br := bufio.NewReader(r)
	if head, _ := br.Peek(2); utf16(head) { // a shorter one is not
		return errUTF16
	}
	_, err := io.Copy(io.Discard, &textReader{r: br, line: 1, bound: math.MaxInt64})
	return err
}

// delimiterOf finds what separates the cells: whatever the header line has most of,
// outside of quotes.
func delimiterOf(br *bufio.Reader, tabs bool) (rune, error) {
	head, err := br.Peek(1)
	for err == nil && len(head) < br.Size() && !bytes.Contains(head, []byte("\n")) {
		head, err = br.Peek(max(br.Buffered(), len(head)+1)) // no more than a line is waited for
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if utf16(head) {
		return 0, errUTF16
	}
	if tabs {
		return '\t', nil
	}
	counts := make(map[byte]int)
	quoted := false
	for _, c := range head {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted && (c == '\n' || c == '\r') {
			break
		}
		if !quoted {
			counts[c]++
		}
	}
	best := byte(',')
	for _, c := range []byte(";\t") {
		if counts[c] > counts[best] {
			best = c
		}
	}
	return rune(best), nil
}

var errUTF16 = errors.New("the file is UTF-16; save it as UTF-8 (in a spreadsheet: CSV UTF-8)")

// utf16 reports whether a text begins as UTF-16 does.
func utf16(head []byte) bool {
	return bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff"))
}

// textReader reads UTF-8, and not more than up to bound bytes: a quote that is
// never closed must not take the whole file into memory.
type textReader struct {
	r     io.Reader
	line  int    // that is being read
	rest  []byte // the beginning of a character
	read  int64
	bound int64 // 0: none yet
}

// Read implements io.Reader.
func (t *textReader) Read(b []byte) (int, error) {
	if t.bound == 0 {
		t.bound = maxLine
	}
	if t.read > t.bound {
		return 0, fmt.Errorf("line %d: a row is longer than %d MiB; is a quote not closed?", t.line, maxLine>>20)
	}
	n, err := t.r.Read(b)
	t.read += int64(n)
	text := append(t.rest, b[:n]...) //nolint:gocritic // rest is replaced below
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size <= 1 {
			if !utf8.FullRune(text) && err == nil {
				break
			}
			return 0, fmt.Errorf("line %d is not UTF-8 (the file may be Latin-1): convert it with iconv -f LATIN1 -t UTF-8, or save it as CSV UTF-8", t.line)
		}
		if r == '\n' {
			t.line++
		}
		text = text[size:]
	}
	t.rest = append([]byte(nil), text...)
	return n, err
}
