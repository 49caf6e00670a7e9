package schema

import "strings"

// jsonMember is a member of an object: what it is, and how that is written.
type jsonMember struct {
	name   string
	raw    string
	text   string // its value, if isText
	isText bool
	other  any // its value, if that is no text
}

// value is what the member is.
func (m *jsonMember) value() any {
	if m.isText {
		return m.text
	}
	return m.other
}

// scanMembers returns the members of the JSON object that the text holds, or false
// where the slower readers have to look. Depth is that of the members' values. They
// are appended to all.
func scanMembers(all []jsonMember, text string, depth int) ([]jsonMember, bool) {
	p := scanner{s: text}
	p.space()
	if p.i == len(p.s) || p.s[p.i] != '{' {
		return nil, false
	}
	ok := p.members(func(name string) (ok bool) {
		for i := range all {
			if all[i].name == name {
				return false
			}
		}
		p.space()
		begin, m := p.i, jsonMember{name: name}
		if m.isText = begin < len(p.s) && p.s[begin] == '"'; m.isText {
			m.text, ok = p.text()
		} else {
			m.other, ok = p.value(depth)
		}
		m.raw = p.s[begin:p.i]
		all = append(all, m)
		return ok && len(all) <= 2*maxAttributes
	})
	p.space()
	return all, ok && p.i == len(p.s)
}

// mostShared is the length of an event, in bytes, from which its attributes are
// copied: who keeps one of them would keep all of the event's text.
const mostShared = 1 << 10

// attribute returns the attribute that a member is, of an event of so many bytes.
func (m *jsonMember) attribute(size int) (attribute, *Refusal) {
	switch {
	case !m.isText || strings.Contains(m.text, "\uFFFD"):
	case size > mostShared:
		return attribute{name: m.name, text: strings.Clone(m.text)}, nil
	default:
		return attribute{name: m.name, text: m.text}, nil
	}
	value, refusal := attributeValue(m.name, []byte(m.raw))
	return attributeOf(m.name, value), refusal
}
