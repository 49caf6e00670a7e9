package oration

import (
	"bytes"
	"encoding/json"
	"errors"
	"html"
	"net"
	"regexp"
	"strings"
	"unicode"

	"github.com/weirhq/weir/schema"
)

// maxWords bounds what is kept of the provider's words, in characters.
const maxWords = 300

// title finds the title of an HTML page.
var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// words returns a provider's text fit for a person: one line, masked, short.
func words(s string) string {
	// Masking comes before the cut, or half a number would pass; what is masked
	// is bounded too, far above what is kept.
	return bounded(schema.Mask(oneLine(cut(s, 16<<10))), maxWords)
}

// oneLine returns s with each run of white space and unprintable characters as
// one space.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	return strings.Join(strings.Fields(s), " ")
}

// cut returns at most n bytes of s.
func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// bounded returns at most n characters of s, with a mark if there were more.
func bounded(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

// page returns the words of a body that is not a JSON object.
func page(body []byte) string {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		return words(string(body))
	}
	if m := title.FindSubmatch(body[:min(len(body), 64<<10)]); m != nil {
		return words(`an HTML page, "` + strings.TrimSpace(html.UnescapeString(string(m[1]))) + `"`)
	}
	return "an HTML page"
}

// failure returns a transport's error as words. An address that could not be
// dialled holds nothing of the provider's and is shown as it is.
func failure(err error) string {
	if err == nil {
		return ""
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return bounded(oneLine(err.Error()), maxWords)
	}
	return words(err.Error())
}

// maskedError is a transport's error whose text is fit to be shown.
type maskedError struct{ error }

func (e maskedError) Error() string { return failure(e.error) }
func (e maskedError) Unwrap() error { return e.error }

// object is a JSON object whose members are looked at one by one, so that one
// of an unexpected type does not hide the others.
type object map[string]json.RawMessage

// asObject returns raw as an object; nil if it is none.
func asObject(raw []byte) object {
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// text returns a member that is a text or a number, as text.
func (o object) text(key string) string {
	raw := o[key]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// echo returns the intent and attempt in dynamicVariables, which is an object
// in requests and a text that holds one in the documented answers. An attempt
// that is no number is -1, which no claim has; one that is absent is 0.
func (o object) echo() (intent string, attempt int) {
	raw := o["dynamicVariables"]
	var encoded string
	if json.Unmarshal(raw, &encoded) == nil {
		raw = []byte(encoded)
	}
	vars := asObject(raw)
	intent = cut(vars.text(keyIntent), maxID)
	if present(vars[keyAttempt]) {
		attempt = -1
		if n, err := json.Number(vars.text(keyAttempt)).Int64(); err == nil && n >= 0 && n <= 1<<31 {
			attempt = int(n)
		}
	}
	return intent, attempt
}

// present reports whether a member is there and not null.
func present(raw json.RawMessage) bool {
	return len(raw) > 0 && string(raw) != "null"
}
