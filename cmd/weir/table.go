package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
)

// shortKey is how much of an intent's key a table shows: 32 bits, enough to
// name one of a few thousand.
const shortKey = 8

// short is the beginning of an intent's key.
func short(key string) string { return key[:min(shortKey, len(key))] }

// when is a time in a table: the machine's own zone, or nothing.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// or is s, or a dash for an empty cell.
func or(s string) string {
	if s = strings.TrimSpace(clean(s)); s == "" {
		return "-"
	}
	return s
}

// clean takes out of foreign text what would break a table or command a
// terminal: control characters, line breaks and changes of direction.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// printCut is print for tables with long last columns: on a terminal each line
// is cut to its width.
func (a *app) printCut(v any, draw func(w io.Writer)) error {
	f, ok := a.stdout.(*os.File)
	if !ok || a.flags.Output == "json" || !isTerminal(f) {
		return a.print(v, draw)
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return a.print(v, draw)
	}
	narrow := *a
	cutter := &lineCutter{w: f, width: width}
	narrow.stdout = cutter
	if err := narrow.print(v, draw); err != nil {
		return err
	}
	return cutter.flush()
}

// lineCutter writes lines of at most width characters.
type lineCutter struct {
	w     io.Writer
	width int
	rest  []byte // a line without its end
}

// Write implements io.Writer.
func (c *lineCutter) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		line, after, found := bytes.Cut(c.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		if _, err := io.WriteString(c.w, cutLine(string(line), c.width)+"\n"); err != nil {
			return 0, err
		}
		c.rest = after
	}
}

func (c *lineCutter) flush() error {
	_, err := io.WriteString(c.w, cutLine(string(c.rest), c.width))
	return err
}

// tabulator draws a table with aligned columns, also where runes take two places
// or none, which text/tabwriter does not know: it is given a stand-in for each
// glyph, as many runes long as the glyph is wide.
type tabulator struct {
	w    io.Writer
	rows bytes.Buffer
}

// standIn is the first of the private runes that stand in for glyphs; filler is the
// second half of a wide one.
const (
	standIn  = 0xf0000
	filler   = standIn - 1
	mostKind = 0xfffd
)

// Write implements io.Writer.
func (t *tabulator) Write(p []byte) (int, error) { return t.rows.Write(p) }

// flush writes the table.
func (t *tabulator) flush() error {
	kinds, numbers := []string(nil), make(map[string]rune)
	encode := func(g glyph) string {
		if len(g.text) == 1 && g.text[0] < 0x80 {
			return g.text
		}
		n, known := numbers[g.text]
		if !known {
			if len(kinds) >= mostKind {
				return g.text
			}
			n = rune(len(kinds)) //nolint:gosec // below mostKind
			numbers[g.text], kinds = n, append(kinds, g.text)
		}
		return string(standIn+n) + strings.Repeat(string(rune(filler)), max(g.width-1, 0))
	}
	var drawn bytes.Buffer
	tw := tabwriter.NewWriter(&drawn, 0, 0, 2, ' ', 0)
	var line strings.Builder
	for _, g := range glyphs(t.rows.String()) {
		line.WriteString(encode(g))
	}
	if _, err := io.WriteString(tw, line.String()); err != nil {
		return err
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range drawn.String() {
		switch n := int(r) - standIn; {
		case r == filler:
		case n >= 0 && n < len(kinds):
			out.WriteString(kinds[n])
		default:
			out.WriteRune(r)
		}
	}
	t.rows.Reset()
	_, err := io.WriteString(t.w, out.String())
	return err
}
