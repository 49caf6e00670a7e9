package schema

import "strings"

// jsonMember is a member of an object: what it is, and how that is written.
type jsonMember struct {
	name  string
	raw   string
	value any
}

// scanMembers returns the members of the JSON object that the text holds, or false
// where the slower readers have to look. Depth is that of the members' values.
func scanMembers(text string, depth int) ([]jsonMember, bool) {
	p := scanner{s: text}
	p.space()
	if p.i == len(p.s) || p.s[p.i] != '{' {
		return nil, false
	}
	all := make([]jsonMember, 0, 12)
	ok := p.members(func(name string) bool {
		for _, m := range all {
			if m.name == name {
				return false
			}
		}
		p.space()
		begin := p.i
		v, ok := p.value(depth)
		all = append(all, jsonMember{name, p.s[begin:p.i], v})
		return ok && len(all) <= 2*maxAttributes
	})
	p.space()
	return all, ok && p.i == len(p.s)
}

// mostShared is the length of an event, in bytes, from which its attributes are
// copied: who keeps one of them would keep all of the event's text.
const mostShared = 1 << 10

// attribute returns the value of a member that is an attribute, of an event of so
// many bytes.
func (m jsonMember) attribute(size int) (any, *Refusal) {
	text, ok := m.value.(string)
	switch {
	case !ok || strings.Contains(text, "\uFFFD"):
	case size > mostShared:
		return strings.Clone(text), nil
	default:
		return m.value, nil
	}
	return attributeValue(m.name, []byte(m.raw))
}
