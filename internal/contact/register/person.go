package register

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Person is somebody who can be contacted: a number in international form, or an
// e-mail address whose letters are all small.
type Person string

// Masked is the person as it may be shown: the last two digits, or the address's
// domain.
func (p Person) Masked() string { return schema.Mask(string(p)) }

// written is what people write in a number. Letters are not among it: they may be an
// extension.
var written = regexp.MustCompile(`^\+?[0-9 ().\-/\x{2010}-\x{2015}\x{a0}\x{2009}\x{202f}]{1,40}$`)

// ParsePerson reads a number or an e-mail address as a person writes it. A number
// without a country is one of the region, such as DE; where that is empty, it is an
// error. No error repeats the text.
func ParsePerson(text, region string) (Person, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "@") {
		parsed, err := mail.ParseAddress(text)
		if err != nil || parsed.Address != text || len(text) > 254 {
			return "", errors.New("this is no e-mail address such as ada@example.com")
		}
		return address(text), nil
	}
	switch {
	case text == "":
		return "", errors.New("there is neither a number nor an e-mail address")
	case !written.MatchString(text):
		return "", errors.New("this is neither a number such as +14155550123 nor an e-mail address")
	case !strings.HasPrefix(text, "+") && region == "":
		return "", fmt.Errorf("the number %s names no country; write it like +14155550123, or say which region it is of", schema.MaskNumber(text))
	}
	number, err := phonenumbers.Parse(text, region)
	if err != nil || !phonenumbers.IsPossibleNumber(number) {
		return "", fmt.Errorf("%s is no number that could be called", schema.MaskNumber(text))
	}
	return Person(phonenumbers.Format(number, phonenumbers.E164)), nil
}

// CheckRegion reports whether numbers can be of a region.
func CheckRegion(region string) bool { return phonenumbers.GetSupportedRegions()[region] }

// people are those whom a recipient is, in a fixed order.
func people(to consumer.Recipient) (all []Person) {
	if to.Number != "" {
		all = append(all, number(to.Number))
	}
	if to.Address != "" {
		all = append(all, address(to.Address))
	}
	return all
}

// number is the person of a number in international form. A lane without rules for
// numbers may write one in more than one way, such as with the zero that is dialled
// inside a country.
func number(text string) Person {
	parsed, err := phonenumbers.Parse(text, "")
	if err != nil {
		return Person(text)
	}
	return Person(phonenumbers.Format(parsed, phonenumbers.E164))
}

// address is the person of an e-mail address. Mailboxes that differ in the case of
// letters alone are taken for one.
func address(text string) Person { return Person(strings.ToLower(strings.TrimSpace(text))) }
