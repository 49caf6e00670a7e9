// Package plainjson reads JSON that is right and plain in one pass, without the token
// and the error that the standard decoder makes for each name and value. What it does
// not take it says nothing of: the standard decoder has to look again, so that rules
// and words are its own. Whatever it takes the standard decoder takes, too, and reads
// the same.
package plainjson

import (
	"bytes"
	"encoding/json"
)

// Members calls member for each member of the object that body is, in order, with the
// value as it is written there, and reports whether it has read all of body. It ends
// where member reports false. The names are of printable ASCII; they and the values share body.
func Members(body []byte, member func(name []byte, raw json.RawMessage) bool) bool {
	return whole(body, '{', func(p *scanner) bool {
		return p.members(func(name []byte) bool {
			raw, ok := p.raw()
			return ok && Plain(name) && member(name, raw)
		})
	})
}

// Elements is Members for the elements of an array.
func Elements(body []byte, element func(raw json.RawMessage) bool) bool {
	return whole(body, '[', func(p *scanner) bool {
		return p.elements(func() bool {
			raw, ok := p.raw()
			return ok && element(raw)
		})
	})
}

// whole reports whether all of body is what begins with that byte, as read takes it.
func whole(body []byte, first byte, read func(p *scanner) bool) bool {
	p := scanner{s: body, depth: maxScan}
	p.space()
	if p.peek() != first || !read(&p) {
		return false
	}
	p.space()
	return p.i == len(p.s)
}

// maxScan is how deep a value may be: far deeper than any answer, and far less than
// would need much of a stack.
const maxScan = 64

// scanner passes over JSON that is right and of any names.
type scanner struct {
	s     []byte
	i     int
	depth int // levels that there may still be
}

// peek is the next byte, or 0.
func (p *scanner) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *scanner) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\r', '\n':
			p.i++
		default:
			return
		}
	}
}

// take skips white space and reports whether c follows, which it takes.
func (p *scanner) take(c byte) bool {
	p.space()
	if p.peek() != c {
		return false
	}
	p.i++
	return true
}

// raw takes a value, and returns it as it is written.
func (p *scanner) raw() (json.RawMessage, bool) {
	p.space()
	begin := p.i
	ok := p.value()
	return json.RawMessage(p.s[begin:p.i:p.i]), ok
}

// value takes a value, which is next.
func (p *scanner) value() bool {
	switch p.peek() {
	case '{':
		return p.members(func([]byte) bool { p.space(); return p.value() })
	case '[':
		return p.elements(func() bool { p.space(); return p.value() })
	case '"':
		_, ok := p.text()
		return ok
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	default:
		return p.number()
	}
}

// members takes an object, whose brace is next; value takes what each name has.
func (p *scanner) members(value func(name []byte) bool) bool {
	return p.list('}', func() bool {
		p.space()
		name, ok := p.text()
		return ok && p.take(':') && value(name)
	})
}

// elements takes an array, whose bracket is next.
func (p *scanner) elements(value func() bool) bool { return p.list(']', value) }

// list takes what stands between commas until the end.
func (p *scanner) list(end byte, one func() bool) bool {
	if p.depth--; p.depth < 0 {
		return false
	}
	defer func() { p.depth++ }()
	if p.i++; p.take(end) {
		return true
	}
	for one() {
		if p.take(end) {
			return true
		}
		if !p.take(',') {
			return false
		}
	}
	return false
}

// text takes a string, and returns what stands between its quotes.
func (p *scanner) text() ([]byte, bool) {
	if p.peek() != '"' {
		return nil, false
	}
	p.i++
	for begin := p.i; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return p.s[begin : p.i-1], true
		case c < ' ':
			return nil, false
		case c == '\\':
			p.i++
			if !p.escape() {
				return nil, false
			}
		}
	}
	return nil, false
}

// escape passes over what follows a backslash, but for its last byte.
func (p *scanner) escape() bool {
	switch p.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			p.i++
			if c := p.peek() | 0x20; !digit(p.peek()) && (c < 'a' || c > 'f') {
				return false
			}
		}
		return true
	default:
		return false
	}
}

func (p *scanner) word(w string) bool {
	if !bytes.HasPrefix(p.s[p.i:], []byte(w)) {
		return false
	}
	p.i += len(w)
	return true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// digits takes those that follow and reports whether there were any.
func (p *scanner) digits() bool {
	begin := p.i
	for digit(p.peek()) {
		p.i++
	}
	return p.i > begin
}

func (p *scanner) number() bool {
	if p.peek() == '-' {
		p.i++
	}
	if p.peek() == '0' {
		p.i++
	} else if !p.digits() {
		return false
	}
	if p.peek() == '.' {
		if p.i++; !p.digits() {
			return false
		}
	}
	if p.peek()|0x20 == 'e' {
		p.i++
		if c := p.peek(); c == '+' || c == '-' {
			p.i++
		}
		return p.digits()
	}
	return true
}

// Plain reports whether what stands between the quotes of a text stands for itself: it
// needs no decoder.
func Plain[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Text returns the plain text that raw is, and whether it is one.
func Text(raw []byte) (string, bool) {
	if n := len(raw); n >= 2 && raw[0] == '"' && raw[n-1] == '"' && Plain(raw[1:n-1]) {
		return string(raw[1 : n-1]), true
	}
	return "", false
}
