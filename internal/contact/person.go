package contact

import (
	"bytes"
	"encoding/json"
	"net/mail"
	"regexp"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// Person is somebody whose events are looked for: by a number, an e-mail address, or
// the id that the person has as a lead. The zero Person has no events.
type Person struct {
	number  string // in international form
	address string // its letters are small
	lead    string
}

// Reached returns the person who has a number in international form, or an e-mail
// address.
func Reached(by string) Person {
	if strings.Contains(by, "@") {
		return Person{address: strings.ToLower(by)}
	}
	return Person{number: by}
}

// Lead returns the person who has this id as a lead.
func Lead(id string) Person { return Person{lead: strings.TrimSpace(id)} }

// In reports whether an event's data is of the person: a lead's id is data.id; a
// number or address is the whole of any text in it, however that is written. One
// that a longer text speaks of is not, for a note may name somebody else. A number
// without a country is one of the region; where that is empty, it is nobody's unless
// its digits begin with the country's.
func (p Person) In(data []byte, region string) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // a number may be one of 15 digits
	var v any
	if d.Decode(&v) != nil {
		return false
	}
	if p.lead != "" {
		members, _ := v.(map[string]any)
		return strings.TrimSpace(text(members["id"])) == p.lead
	}
	return p.in(v, region)
}

// Is reports whether a text as a whole is the person's number or address. A lead's id
// is none.
func (p Person) Is(text, region string) bool { return p.is(text, region) }

// in looks through a value. How deep one may be, the reader of events decides.
func (p Person) in(v any, region string) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			if p.in(member, region) {
				return true
			}
		}
		return false
	case []any:
		for _, member := range v {
			if p.in(member, region) {
				return true
			}
		}
		return false
	default:
		return p.is(text(v), region)
	}
}

// text is a value that can be written as one; else empty.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return ""
	}
}

// is reports whether a text is the person's number or address.
func (p Person) is(text, region string) bool {
	text = strings.TrimSpace(text)
	switch {
	case p.address != "":
		return p.hasAddress(text)
	case p.number != "":
		return p.hasNumber(text, region)
	default:
		return false
	}
}

func (p Person) hasAddress(text string) bool {
	if !strings.Contains(text, "@") || len(text) > 1000 {
		return false
	}
	if len(text) > 7 && strings.EqualFold(text[:7], "mailto:") {
		text = text[7:]
	}
	if strings.ToLower(text) == p.address {
		return true
	}
	parsed, err := mail.ParseAddress(text) // Ada <ada@example.com>
	return err == nil && strings.ToLower(parsed.Address) == p.address
}

// prefixed and extended are what may stand around a number that is the whole text.
var (
	prefixed = regexp.MustCompile(`(?i)^tel:\s*`)
	extended = regexp.MustCompile(`(?i)[\s,;]*(?:ext\.?|extension|x|#)\s*=?\s*\d{1,7}$`)
)

// hasNumber reports whether a text is the number, or leads to an extension of it: that
// is dialled there, too.
func (p Person) hasNumber(text, region string) bool {
	text = strings.TrimSpace(prefixed.ReplaceAllString(text, ""))
	text = extended.ReplaceAllString(text, "")
	if !written.MatchString(text) {
		return false
	}
	if strings.HasPrefix(text, "+") || region != "" {
		if number, err := phonenumbers.Parse(text, region); err == nil && phonenumbers.Format(number, phonenumbers.E164) == p.number {
			return true
		}
	}
	return "+"+strings.TrimPrefix(digits(text), "00") == p.number
}

// digits are those of a written number.
func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}
