package schema

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// headers are a message's headers that matter here, by lower-case name.
type headers map[string]string

// fold makes the names of headers lower-case. One name with two different
// values is refused: which of them counts would depend on the reader.
func fold(header map[string][]string) (headers, *Refusal) {
	h := headers{}
	for name, values := range header {
		lower := strings.ToLower(name)
		if lower != "content-type" && !strings.HasPrefix(lower, prefix) {
			continue
		}
		for _, v := range values {
			if old, ok := h[lower]; ok && old != v {
				return nil, refuse(ClassUndecodable, lower, "The header %s is there twice, with different values.", quote(lower))
			}
			h[lower] = v
		}
	}
	return h, nil
}

// decodeBinary reads an event whose attributes are headers and whose data is
// the body.
func decodeBinary(h headers, body []byte) (*Reading, *Refusal) {
	attributes := make(map[string]any, len(h))
	if kind := strings.TrimSpace(h["content-type"]); kind != "" {
		attributes["datacontenttype"] = kind // ce-datacontenttype wins, below
	}
	for header, value := range h {
		name, ok := strings.CutPrefix(header, prefix)
		if !ok {
			continue
		}
		if r := checkName(name); r != nil {
			return nil, r
		}
		text, r := headerText(name, value)
		if r != nil {
			return nil, r
		}
		attributes[name] = text
	}
	version, _ := attributes["specversion"].(string)
	if r := checkVersionText(version); r != nil {
		return nil, r
	}
	return reading(build(attributesOf(attributes), bytes.Clone(body)))
}

// headerText decodes a header's value: quotes first, then percent-encoding,
// once.
func headerText(name, value string) (string, *Refusal) {
	value = strings.Trim(value, " \t")
	if strings.HasPrefix(value, `"`) {
		inner, ok := unquote(value)
		if !ok {
			return "", refuse(ClassUndecodable, name, "The event's %s begins with a quotation mark that is not closed.", name)
		}
		value = inner
	}
	text := percentDecode(value)
	if !utf8.ValidString(text) {
		return "", refuse(ClassUndecodable, name, "The event's %s is not percent-encoded UTF-8.", name)
	}
	return text, nil
}

// unquote returns the content of a quoted string of HTTP, and whether it is
// one.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	var b strings.Builder
	inner := s[1 : len(s)-1]
	for i := 0; i < len(inner); i++ {
		switch inner[i] {
		case '"':
			return "", false
		case '\\':
			i++
			if i == len(inner) {
				return "", false
			}
		}
		b.WriteByte(inner[i])
	}
	return b.String(), true
}

// percentDecode replaces each %XX once. Another percent sign stands for itself:
// the SDKs of CloudEvents encode nothing in headers.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, ok1 := unhex(s[i+1])
			low, ok2 := unhex(s[i+2])
			if ok1 && ok2 {
				b = append(b, high<<4|low)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}
