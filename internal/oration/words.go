package oration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/weirhq/weir/schema"
)

// maxWords bounds what is kept of the provider's words, in characters.
const maxWords = 300

// title finds the title of an HTML page.
var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// minSecret is the length, in bytes, from which a secret of our own is looked
// for. Shorter ones are part of any text.
const minSecret = 4

// maxMasked bounds the text that is masked, in bytes: far above what is kept.
const maxMasked = 16 << 10

// censor makes what a provider says fit to be shown. A provider may repeat the
// credentials that it was sent. The zero value knows none.
type censor struct {
	secrets *regexp.Regexp // nil: none
	longest int            // bytes of a secret in its longest spelling
}

// newCensor returns a censor of secrets, which are of printable ASCII, however
// JSON, Go or a URL spells them.
func newCensor(secrets ...schema.Secret) censor {
	var c censor
	var known []string
	for _, secret := range secrets {
		if s := secret.Reveal(); len(s) >= minSecret {
			known = append(known, s)
		}
	}
	if len(known) == 0 {
		return c
	}
	// The longest first: one secret may begin as another does.
	slices.SortFunc(known, func(a, b string) int { return len(b) - len(a) })
	c.longest = len(`\u0000`) * len(known[0])
	for i, s := range known {
		var b strings.Builder
		for _, char := range []byte(s) {
			fmt.Fprintf(&b, `(?:\\*%s|\\+u00(?i:%02x)|%%(?i:%02x))`, regexp.QuoteMeta(string(char)), char, char)
		}
		known[i] = b.String()
	}
	c.secrets = regexp.MustCompile(strings.Join(known, "|"))
	return c
}

// hide returns s without the secrets, and at most n bytes of it.
func (c censor) hide(s string, n int) string {
	if c.secrets == nil {
		return cut(s, n)
	}
	// The cut would leave a part of a secret that it goes through.
	more := len(s) > n+c.longest
	s = c.secrets.ReplaceAllLiteralString(cut(s, n+c.longest), "[redacted]")
	if more {
		s = cut(s, len(s)-min(len(s), c.longest))
	}
	return cut(s, n)
}

// words returns a provider's text fit for a person: one line, without secrets,
// masked, short.
func (c censor) words(s string) string {
	// Masking comes before the cut, or half a number would pass. Secrets go
	// before it, or it would leave parts of one.
	return bounded(schema.Mask(oneLine(c.hide(s, maxMasked))), maxWords)
}

// coding returns what to say of a body that came compressed, which no request
// allows: it cannot be read. Empty if it did not.
func (c censor) coding(h http.Header) string {
	for _, v := range h.Values("Content-Encoding") {
		for name := range strings.SplitSeq(v, ",") {
			if name = strings.TrimSpace(name); name != "" && !strings.EqualFold(name, "identity") {
				return bounded("a body in the coding "+c.words(name), maxWords)
			}
		}
	}
	return ""
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
func (c censor) page(body []byte) string {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		return c.words(string(body))
	}
	if m := title.FindSubmatch(body[:min(len(body), 64<<10)]); m != nil {
		return c.words(`an HTML page, "` + strings.TrimSpace(html.UnescapeString(string(m[1]))) + `"`)
	}
	return "an HTML page"
}

// failure returns a transport's error as words. An address that could not be
// dialled holds nothing of the provider's and is shown as it is.
func (c censor) failure(err error) string {
	if err == nil {
		return ""
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return bounded(oneLine(err.Error()), maxWords)
	}
	return c.words(err.Error())
}

// maskedError is a transport's error whose text is fit to be shown.
type maskedError struct {
	error
	text string
}

func (c censor) mask(err error) error { return maskedError{err, c.failure(err)} }

func (e maskedError) Error() string { return e.text }
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
