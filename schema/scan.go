package schema

import (
	"encoding/json"
	"strings"
)

// A scanner reads JSON that is right in one pass, without the token and the error
// that the standard decoder makes for each name and value. What it does not take it
// says nothing of: parseJSON then reads the text again, slowly, and tells what is
// wrong. So the rules are the slow reader's, and a test holds the two together.
//
// The text is copied once, and all that is read of it shares that copy.
type scanner struct {
	s string
	i int
}

// scanJSON returns what parseJSON would, or false where that has to look.
func scanJSON(text string, depth int) (any, bool) {
	p := scanner{s: text}
	v, ok := p.value(depth)
	p.space()
	return v, ok && p.i == len(p.s)
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

// next skips white space and reports whether c follows, which it takes.
func (p *scanner) next(c byte) bool {
	p.space()
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

// word takes a word that must follow.
func (p *scanner) word(w string) bool {
	if !strings.HasPrefix(p.s[p.i:], w) {
		return false
	}
	p.i += len(w)
	return true
}

// value reads a value that may have depth levels.
func (p *scanner) value(depth int) (any, bool) {
	p.space()
	if p.i == len(p.s) {
		return nil, false
	}
	switch p.s[p.i] {
	case '{':
		if depth == 0 {
			return nil, false
		}
		object := map[string]any{}
		ok := p.members(func(name string) bool {
			if _, twice := object[name]; twice {
				return false
			}
			v, ok := p.value(depth - 1)
			object[name] = v
			return ok
		})
		return object, ok
	case '[':
		if depth == 0 {
			return nil, false
		}
		return p.list(depth - 1)
	case '"':
		return boxed(p.text())
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	default:
		n, ok := p.number()
		return n, ok
	}
}

func boxed(s string, ok bool) (any, bool) { return s, ok }

// members reads an object, whose brace is next: member reads the value of each name.
func (p *scanner) members(member func(name string) bool) bool {
	p.i++
	if p.next('}') {
		return true
	}
	for {
		p.space()
		name, ok := p.text()
		if !ok || !p.next(':') || !member(name) {
			return false
		}
		if p.next('}') {
			return true
		}
		if !p.next(',') {
			return false
		}
	}
}

// list reads a list, whose bracket is next.
func (p *scanner) list(depth int) (any, bool) {
	p.i++
	list := []any{}
	if p.next(']') {
		return list, true
	}
	for {
		v, ok := p.value(depth)
		if !ok {
			return nil, false
		}
		list = append(list, v)
		if p.next(']') {
			return list, true
		}
		if !p.next(',') {
			return nil, false
		}
	}
}

// text reads a string.
func (p *scanner) text() (string, bool) {
	if p.i == len(p.s) || p.s[p.i] != '"' {
		return "", false
	}
	begin := p.i
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return p.s[begin+1 : p.i-1], true
		case c == '\\':
			return p.escaped(begin)
		case c < ' ':
			return "", false
		}
	}
	return "", false
}

// escaped reads a string that began there and holds a backslash.
func (p *scanner) escaped(begin int) (s string, ok bool) {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case '\\':
			p.i = min(p.i+2, len(p.s))
		case '"':
			p.i++
			return s, json.Unmarshal([]byte(p.s[begin:p.i]), &s) == nil
		default:
			p.i++
		}
	}
	return "", false
}

// number reads a number of no more digits than any may have.
func (p *scanner) number() (json.Number, bool) {
	begin := p.i
	if p.i < len(p.s) && p.s[p.i] == '-' {
		p.i++
	}
	if p.i < len(p.s) && p.s[p.i] == '0' {
		p.i++
	} else if !p.digits() {
		return "", false
	}
	if p.i < len(p.s) && p.s[p.i] == '.' {
		p.i++
		if !p.digits() {
			return "", false
		}
	}
	if p.i < len(p.s) && p.s[p.i]|0x20 == 'e' {
		p.i++
		if p.i < len(p.s) && (p.s[p.i] == '+' || p.s[p.i] == '-') {
			p.i++
		}
		if !p.digits() {
			return "", false
		}
	}
	n := json.Number(p.s[begin:p.i])
	return n, checkNumber(n) == nil
}

// digits takes those that follow and reports whether there were any.
func (p *scanner) digits() bool {
	begin := p.i
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
	}
	return p.i > begin
}
