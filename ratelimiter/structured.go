package ratelimiter

import (
	"encoding/base64"
	"errors"
	"strings"
)

// Bounds of a structured field. What is larger is not a limit that anybody
// meant to be read.
const (
	maxField   = 2048 // bytes, all lines of the field together
	maxMembers = 32   // of the list, and parameters of each
)

// errField is any violation of the grammar: such a field counts as absent.
var errField = errors.New("malformed structured field")

// kind is the type of a bare item.
type kind byte

const (
	kindInteger kind = iota
	kindDecimal
	kindString
	kindToken
	kindBytes
	kindBoolean
)

// bare is one value. Text is what a string, token or byte sequence holds, and a
// decimal's digits; number is an integer's value, or 1 for true.
type bare struct {
	kind   kind
	text   string
	number int64
}

// item is one member of a list.
type item struct {
	value  bare
	params map[string]bare
}

// integer returns a parameter that must be an integer of at least 0.
func (it item) integer(key string) (int64, bool) {
	p, ok := it.params[key]
	return p.number, ok && p.kind == kindInteger && p.number >= 0
}

// parseList reads a List of Items (RFC 9651, section 3.1) without inner lists,
// dates and display strings, which no limit field uses. Lines of one field are
// joined by commas before.
func parseList(s string) ([]item, error) {
	if len(s) > maxField {
		return nil, errField
	}
	p := &fieldParser{rest: strings.Trim(s, " ")}
	var list []item
	for p.rest != "" {
		it, err := p.item()
		if err != nil || len(list) == maxMembers {
			return nil, errField
		}
		list = append(list, it)
		p.rest = strings.TrimLeft(p.rest, " \t")
		if p.rest == "" {
			return list, nil
		}
		if !p.take(',') {
			return nil, errField
		}
		p.rest = strings.TrimLeft(p.rest, " \t")
		if p.rest == "" { // a comma at the end
			return nil, errField
		}
	}
	return list, nil
}

// fieldParser consumes a field from its front.
type fieldParser struct{ rest string }

// take consumes c if it is next.
func (p *fieldParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// run consumes the longest prefix of bytes that ok accepts.
func (p *fieldParser) run(ok func(byte) bool) string {
	n := 0
	for n < len(p.rest) && ok(p.rest[n]) {
		n++
	}
	head := p.rest[:n]
	p.rest = p.rest[n:]
	return head
}

// item consumes a bare item and its parameters. Of a repeated parameter the last
// one counts.
func (p *fieldParser) item() (item, error) {
	value, err := p.bare()
	if err != nil {
		return item{}, err
	}
	it := item{value: value, params: map[string]bare{}}
	for p.take(';') {
		p.rest = strings.TrimLeft(p.rest, " ")
		key := p.key()
		if key == "" || len(it.params) == maxMembers {
			return item{}, errField
		}
		v := bare{kind: kindBoolean, number: 1}
		if p.take('=') {
			if v, err = p.bare(); err != nil {
				return item{}, err
			}
		}
		it.params[key] = v
	}
	return it, nil
}

// key consumes a parameter's name; empty if there is none.
func (p *fieldParser) key() string {
	if p.rest == "" || !isLower(p.rest[0]) && p.rest[0] != '*' {
		return ""
	}
	return p.run(func(c byte) bool {
		return isLower(c) || isDigit(c) || strings.IndexByte("_-.*", c) >= 0
	})
}

// bare consumes one value of any type.
func (p *fieldParser) bare() (bare, error) {
	if p.rest == "" {
		return bare{}, errField
	}
	switch c := p.rest[0]; {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		return p.text()
	case c == '*' || isLower(c) || 'A' <= c && c <= 'Z':
		return bare{kind: kindToken, text: p.run(isTokenByte)}, nil
	case c == ':':
		return p.bytes()
	case c == '?':
		return p.boolean()
	default:
		return bare{}, errField
	}
}

// number consumes an integer of at most 15 digits or a decimal of at most 12
// and 3.
func (p *fieldParser) number() (bare, error) {
	negative := p.take('-')
	whole := p.run(isDigit)
	if whole == "" || len(whole) > 15 {
		return bare{}, errField
	}
	if p.take('.') {
		part := p.run(isDigit)
		if len(whole) > 12 || part == "" || len(part) > 3 {
			return bare{}, errField
		}
		sign := ""
		if negative {
			sign = "-"
		}
		return bare{kind: kindDecimal, text: sign + whole + "." + part}, nil
	}
	n := digits(whole)
	if negative {
		n = -n
	}
	return bare{kind: kindInteger, number: n}, nil
}

// text consumes a quoted string of printable ASCII.
func (p *fieldParser) text() (bare, error) {
	p.take('"')
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return bare{kind: kindString, text: b.String()}, nil
		case c == '\\':
			i++
			if i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				return bare{}, errField
			}
			b.WriteByte(p.rest[i])
		case c < ' ' || c > '~':
			return bare{}, errField
		default:
			b.WriteByte(c)
		}
	}
	return bare{}, errField
}

// bytes consumes a byte sequence: base64 between colons.
func (p *fieldParser) bytes() (bare, error) {
	p.take(':')
	coded, rest, ok := strings.Cut(p.rest, ":")
	if !ok || strings.ContainsAny(coded, "\r\n") { // which the decoder would skip
		return bare{}, errField
	}
	b, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return bare{}, errField
	}
	p.rest = rest
	return bare{kind: kindBytes, text: string(b)}, nil
}

// boolean consumes ?0 or ?1.
func (p *fieldParser) boolean() (bare, error) {
	p.take('?')
	switch {
	case p.take('1'):
		return bare{kind: kindBoolean, number: 1}, nil
	case p.take('0'):
		return bare{kind: kindBoolean}, nil
	default:
		return bare{}, errField
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// isTokenByte reports whether c may stand inside a token.
func isTokenByte(c byte) bool {
	return isDigit(c) || isLower(c) || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0
}
