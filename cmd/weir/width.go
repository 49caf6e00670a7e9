package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// wide are the runes that take two places on a terminal (East Asian wide and
// fullwidth, and the emoji), in rising order.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, {Lo: 0x231a, Hi: 0x231b, Stride: 1}, {Lo: 0x23e9, Hi: 0x23ec, Stride: 1},
		{Lo: 0x25fd, Hi: 0x25fe, Stride: 1}, {Lo: 0x2614, Hi: 0x2615, Stride: 1}, {Lo: 0x2648, Hi: 0x2653, Stride: 1},
		{Lo: 0x26aa, Hi: 0x26ab, Stride: 1}, {Lo: 0x2705, Hi: 0x2705, Stride: 1}, {Lo: 0x274c, Hi: 0x274c, Stride: 1},
		{Lo: 0x2753, Hi: 0x2755, Stride: 1}, {Lo: 0x2795, Hi: 0x2797, Stride: 1}, {Lo: 0x2b1b, Hi: 0x2b1c, Stride: 1},
		{Lo: 0x2b50, Hi: 0x2b50, Stride: 1}, {Lo: 0x2e80, Hi: 0x303e, Stride: 1}, {Lo: 0x3041, Hi: 0x4dbf, Stride: 1},
		{Lo: 0x4e00, Hi: 0xa4cf, Stride: 1}, {Lo: 0xa960, Hi: 0xa97c, Stride: 1}, {Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe6f, Stride: 1}, {Lo: 0xff01, Hi: 0xff60, Stride: 1},
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x16fe0, Hi: 0x18cff, Stride: 1}, {Lo: 0x1b000, Hi: 0x1b2ff, Stride: 1}, {Lo: 0x1f004, Hi: 0x1f004, Stride: 1},
		{Lo: 0x1f0cf, Hi: 0x1f0cf, Stride: 1}, {Lo: 0x1f18e, Hi: 0x1f19a, Stride: 1}, {Lo: 0x1f200, Hi: 0x1f320, Stride: 1},
		{Lo: 0x1f32d, Hi: 0x1f64f, Stride: 1}, {Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1}, {Lo: 0x1f7e0, Hi: 0x1f7eb, Stride: 1},
		{Lo: 0x1f90c, Hi: 0x1f9ff, Stride: 1}, {Lo: 0x1fa70, Hi: 0x1faff, Stride: 1}, {Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

// runeWidth is how many places a rune takes on a terminal, as far as that can be
// known.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) || r >= 0x1f3fb && r <= 0x1f3ff: // a colour of skin belongs to what is before it
		return 0
	case unicode.Is(wide, r):
		return 2
	default:
		return 1
	}
}

// glyph is what stands in one place, or two, of a terminal: a rune with what is
// drawn over it, and the colours that change before it.
type glyph struct {
	text  string
	width int
}

// glyphs divides a text. A sequence of colour takes no place; line breaks and tabs
// stand alone.
func glyphs(text string) []glyph {
	var all []glyph
	before, joined, apart := "", false, true
	for text != "" {
		if n := colourLength(text); n > 0 {
			before, text = before+text[:n], text[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		piece := text[:n]
		text = text[n:]
		control := r == '\n' || r == '\t'
		if control && before != "" { // the end of a colour
			if apart {
				all = append(all, glyph{})
			}
			all[len(all)-1].text += before
			before = ""
		}
		if w := runeWidth(r); apart || control || w > 0 && !joined {
			all = append(all, glyph{before + piece, w})
		} else {
			all[len(all)-1].text += before + piece
		}
		before, joined, apart = "", r == '\u200d', control // a joiner makes one emoji of two
	}
	if before != "" {
		all = append(all, glyph{text: before})
	}
	return all
}

// colourLength is how long the sequence of colour is that a text begins with; 0 if
// it does not.
func colourLength(s string) int {
	rest, ok := strings.CutPrefix(s, "\x1b[")
	if !ok {
		return 0
	}
	for i, c := range []byte(rest) {
		switch {
		case c == 'm':
			return len("\x1b[") + i + 1
		case (c < '0' || c > '9') && c != ';':
			return 0
		}
	}
	return 0
}

// textWidth is how many places a line takes.
func textWidth(line string) (sum int) {
	for _, g := range glyphs(line) {
		sum += g.width
	}
	return sum
}

// cutLine shortens a line to width places, the last one an ellipsis.
func cutLine(line string, width int) string {
	all := glyphs(line)
	sum, coloured := 0, false
	for _, g := range all {
		sum += g.width
		coloured = coloured || strings.Contains(g.text, "\x1b[")
	}
	if sum <= width {
		return line
	}
	var b strings.Builder
	room := max(width-1, 0)
	for _, g := range all {
		if room -= g.width; room < 0 {
			break
		}
		b.WriteString(g.text)
	}
	cut := strings.TrimRight(b.String(), " ") + "…"
	if coloured {
		cut += plain
	}
	return cut
}

// padTo fills a text up to width places, or shortens it.
func padTo(s string, width int) string {
	s = cutLine(s, width)
	return s + strings.Repeat(" ", max(0, width-textWidth(s)))
}

// padLeft is padTo with the filling before the text, as for numbers.
func padLeft(s string, width int) string {
	s = cutLine(s, width)
	return strings.Repeat(" ", max(0, width-textWidth(s))) + s
}
