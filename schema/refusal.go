package schema

import (
	"fmt"
	"strings"
)

// Class is the class of a refusal, and of the dead letter that it becomes. It
// is stored and shown: a value never changes.
type Class string

// The classes.
const (
	ClassUndecodable Class = "undecodable" // not a CloudEvent that can be read
	ClassVersion     Class = "version"     // a CloudEvents version other than 1.0
	ClassTooLarge    Class = "too_large"   // the body, one attribute, or their number
	ClassSource      Class = "source"      // the source begins with /weir/
	ClassNoRoute     Class = "no_route"    // no route of the lane has this type
	ClassData        Class = "data"        // the data violates the JSON Schema of its type
	ClassRequest     Class = "request"     // the route's request cannot be made, or the provider cannot take it
	ClassConflict    Class = "conflict"    // one id, two contents
	ClassTooOld      Class = "too_old"     // older than what the ledger remembers
	ClassRejected    Class = "rejected"    // the provider refused the item
	ClassContact     Class = "contact"     // a contact rule says never to contact this recipient
)

// Refusal tells why an event cannot become a conversation, in words for a
// salesperson. Neither Field nor Reason holds a full phone number or e-mail
// address.
type Refusal struct {
	Class  Class
	Field  string // the place: an attribute, a path into data, or a path into the request; may be empty
	Reason string // whole sentences
}

// Error returns the Reason, led by the Field if the Reason does not name it.
func (r *Refusal) Error() string {
	if r.Field == "" || strings.Contains(r.Reason, r.Field) {
		return r.Reason
	}
	return r.Field + ": " + r.Reason
}

// Pointer returns the Field as a JSON Pointer (RFC 6901) into the event's JSON
// form, such as /data/phone; empty if the refusal names no place in the event.
func (r *Refusal) Pointer() string {
	switch {
	case r.Class == ClassRequest, r.Class == ClassRejected, r.Field == contentType, strings.HasPrefix(r.Field, prefix):
		return "" // a place in the route's request, or in the headers
	}
	var b strings.Builder
	for rest := r.Field; rest != ""; {
		var step string
		if list, ok := strings.CutPrefix(rest, "["); ok {
			step, rest, _ = strings.Cut(list, "]")
			step = strings.Trim(step, `"`)
		} else {
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			step, rest = rest[:end], rest[end:]
		}
		rest = strings.TrimPrefix(rest, ".")
		b.WriteString("/" + pointerEscape.Replace(step))
	}
	return b.String()
}

// pointerEscape writes a name as a step of a JSON Pointer.
var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// Skip reports that nobody is to be contacted although the event is well: each
// route of its type has a condition, and none of them holds; or, of ClassContact, a
// contact rule forbids it.
type Skip struct {
	Class  Class  // empty: no route applies
	Rule   string // of ClassContact: the rule's name
	Reason string
}

// Error returns the Reason.
func (s *Skip) Error() string { return s.Reason }

// refuse makes a refusal whose text is bounded, and whose field is masked,
// because the sender may have chosen the names in it.
func refuse(c Class, field, format string, args ...any) *Refusal {
	return &Refusal{
		Class:  c,
		Field:  clip(Mask(field), maxQuote),
		Reason: clip(fmt.Sprintf(format, args...), maxReason),
	}
}

const (
	maxReason = 600 // bytes of a Reason: an outcome carries it as one attribute's worth of text
	maxQuote  = 120 // bytes of any foreign text inside a Reason
)

// clip cuts s to at most n bytes and an ellipsis, never inside a rune, and
// takes out what would break a line of a log or a table.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 { // a continuation byte
		n--
	}
	return s[:n] + "…"
}

// quote shows foreign text inside a Reason: bounded and masked.
func quote(s string) string { return `"` + clip(Mask(s), maxQuote) + `"` }
