package wire

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
	"sync"
	"unicode"

	"github.com/weirhq/weir/schema"
)

// MaxWords bounds what is kept of the provider's words, in characters.
const MaxWords = 300

// title finds the title of an HTML page.
var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// minSecret is the length, in bytes, from which a secret of our own is looked
// for. Shorter ones are part of any text.
const minSecret = 4

// maxMasked bounds the text that is masked, in bytes: far above what is kept.
const maxMasked = 16 << 10

// Censor makes what a provider says fit to be shown. A provider may repeat the
// credentials that it was sent. The zero value knows none.
type Censor struct {
	secrets func() *regexp.Regexp // compiled when it is first needed, for it is large; nil: none
	longest int                   // bytes of a secret in its longest spelling
}

// NewCensor returns a Censor of secrets, which are of printable ASCII, however
// JSON, Go or a URL spells them.
func NewCensor(secrets ...schema.Secret) Censor {
	var c Censor
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
	c.secrets = sync.OnceValue(func() *regexp.Regexp { return spellings(known) })
	return c
}

// spellings matches each of the texts, however it is spelled.
func spellings(texts []string) *regexp.Regexp {
	patterns := make([]string, len(texts))
	for i, s := range texts {
		var b strings.Builder
		for _, char := range []byte(s) {
			fmt.Fprintf(&b, `(?:\\*%s|\\+u00(?i:%02x)|%%(?i:%02x))`, regexp.QuoteMeta(string(char)), char, char)
		}
		patterns[i] = b.String()
	}
	return regexp.MustCompile(strings.Join(patterns, "|"))
}

// Hide returns s without the secrets, and at most n bytes of it.
func (c Censor) Hide(s string, n int) string {
	if c.secrets == nil {
		return Cut(s, n)
	}
	// The cut would leave a part of a secret that it goes through.
	more := len(s) > n+c.longest
	s = c.secrets().ReplaceAllLiteralString(Cut(s, n+c.longest), "[redacted]")
	if more {
		s = Cut(s, len(s)-min(len(s), c.longest))
	}
	return Cut(s, n)
}

// Words returns a provider's text fit for a person: one line, without secrets,
// masked, short.
func (c Censor) Words(s string) string {
	// Masking comes before the cut, or half a number would pass. Secrets go
	// before it, or it would leave parts of one.
	return Bounded(schema.Mask(oneLine(c.Hide(s, maxMasked))), MaxWords)
}

// Coding returns what to say of a body that came compressed, which no request
// allows: it cannot be read. Empty if it did not.
func (c Censor) Coding(h http.Header) string {
	for _, v := range h.Values("Content-Encoding") {
		for name := range strings.SplitSeq(v, ",") {
			if name = strings.TrimSpace(name); name != "" && !strings.EqualFold(name, "identity") {
				return Bounded("a body in the coding "+c.Words(name), MaxWords)
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

// Cut returns at most n bytes of s.
func Cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// Bounded returns at most n characters of s, with a mark if there were more.
func Bounded(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

// Page returns the words of a body that is not a JSON object.
func (c Censor) Page(body []byte) string {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		return c.Words(string(body))
	}
	if m := title.FindSubmatch(body[:min(len(body), 64<<10)]); m != nil {
		return c.Words(`an HTML page, "` + strings.TrimSpace(html.UnescapeString(string(m[1]))) + `"`)
	}
	return "an HTML page"
}

// Failure returns a transport's error as words. An address that could not be
// dialled holds nothing of the provider's and is shown as it is.
func (c Censor) Failure(err error) string {
	if err == nil {
		return ""
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return Bounded(oneLine(err.Error()), MaxWords)
	}
	return c.Words(err.Error())
}

// maskedError is a transport's error whose text is fit to be shown.
type maskedError struct {
	error
	text string
}

// Mask returns a transport's error with a text that is fit to be shown.
func (c Censor) Mask(err error) error { return maskedError{err, c.Failure(err)} }

func (e maskedError) Error() string { return e.text }
func (e maskedError) Unwrap() error { return e.error }

// Said returns the words of an error's body.
func (c Censor) Said(body []byte) string {
	if o := AsObject(body); o != nil {
		return c.Say(body)
	}
	if len(body) == 0 {
		return "no body"
	}
	return c.Page(body)
}

// A value is looked for words in sayDepth objects at most, none longer than
// maxSay bytes: a hostile one costs a hundred times its size.
const (
	sayDepth = 3
	maxSay   = 256 << 10
)

// telling are the members that hold an error's words, the best first.
var telling = []string{"error", "message", "msg", "detail", "reason", "title", "code"}

// Say returns the words in an error: a text, or the first telling member of an
// object, or whatever stands there.
func (c Censor) Say(raw json.RawMessage) string { return c.say(raw, sayDepth) }

func (c Censor) say(raw json.RawMessage, depth int) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return c.Words(s)
	}
	if depth > 0 && len(raw) <= maxSay {
		o := AsObject(raw)
		for _, key := range telling {
			if !Present(o[key]) {
				continue
			}
			if s := c.say(o[key], depth-1); s != "" {
				return s
			}
		}
	}
	return c.Words(string(raw))
}
