package contact

import (
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Numbers says which numbers may be dialled.
type Numbers struct {
	// Region is where a number without a country is from, such as DE; empty: such a
	// number is not dialled.
	Region string
	// SendInvalid has a number dialled that has a possible length and that its
	// country's numbering plan does not know.
	SendInvalid bool
	// Allow, if there are any, are the only regions whose numbers are dialled, and
	// Deny those whose numbers are not.
	Allow, Deny []string
}

// CheckRegion reports whether a region is one that numbers can be from.
func CheckRegion(region string) bool { return phonenumbers.GetSupportedRegions()[region] }

// written is what people write in a number. Letters are not among it: they may be an
// extension, and its switchboard is another person.
var written = regexp.MustCompile(`^\+?[0-9 ().\-/\x{2010}-\x{2015}\x{a0}\x{2009}\x{202f}]{1,40}$`)

// Number implements consumer.Contact: the international form of a number that a
// route made. A number without a country is one of the lane's region.
func (r *Rules) Number(field, text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil // whether there must be one is the provider's to say
	}
	region := r.cfg.Numbers.Region
	if !written.MatchString(text) {
		return "", refuse(field, "The phone number %s cannot be read; it must look like +14155550123, without an extension.", schema.MaskNumber(text))
	}
	if !strings.HasPrefix(text, "+") && region == "" {
		return "", refuse(field, "The phone number %s is not in international form; it must look like +14155550123, or the lane must name its contact.region.", schema.MaskNumber(text))
	}
	if region != "" && phonenumbers.IsEmergencyNumber(text, region) {
		return "", never(consumer.RuleNumber, "An emergency number is never called.")
	}
	number, err := phonenumbers.Parse(text, region)
	if err != nil {
		return "", refuse(field, "The phone number %s is none that could be called.", schema.MaskNumber(text))
	}
	if err := special(number); err != nil {
		return "", err
	}
	international := phonenumbers.Format(number, phonenumbers.E164)
	if international == text {
		r.newest.Store(&dialable{text, number})
	}
	return international, nil
}

// dialable is a number that is not special, and the international form that it was
// read from.
type dialable struct {
	text   string
	number *phonenumbers.PhoneNumber // not to be changed
}

// dialable returns a recipient's number, which is read once if Number has just found
// it to be dialable.
func (r *Rules) dialable(to consumer.Recipient) (*phonenumbers.PhoneNumber, error) {
	if known := r.newest.Load(); known != nil && known.text == to.Number {
		return known.number, nil
	}
	number, err := phonenumbers.Parse(to.Number, "")
	if err != nil || phonenumbers.Format(number, phonenumbers.E164) != to.Number {
		return nil, refuse(to.Field, "The phone number %s is none that could be called.", schema.MaskNumber(to.Number))
	}
	return number, special(number)
}

// checkNumber refuses a recipient whose number is not to be dialled.
func (r *Rules) checkNumber(to consumer.Recipient) error {
	n := r.cfg.Numbers
	number, err := r.dialable(to)
	if err != nil {
		return err
	}
	if phonenumbers.IsPossibleNumberWithReason(number) != phonenumbers.IS_POSSIBLE {
		return refuse(to.Field, "The phone number %s is too short or too long for its country.", schema.MaskNumber(to.Number))
	}
	if !n.SendInvalid && !phonenumbers.IsValidNumber(number) {
		return refuse(to.Field, "The phone number %s is not in use in its country, as far as its numbering plan is known; contact.numbers.invalid: send would call it all the same.", schema.MaskNumber(to.Number))
	}
	return n.checkRegion(number)
}

// special refuses a number that is never dialled.
func special(number *phonenumbers.PhoneNumber) error {
	switch phonenumbers.GetNumberType(number) {
	case phonenumbers.PREMIUM_RATE:
		return never(consumer.RuleNumber, "A premium-rate number is never called.")
	case phonenumbers.UNKNOWN: // what is not valid is of no type
	default:
		return nil
	}
	national := phonenumbers.GetNationalSignificantNumber(number)
	for _, region := range phonenumbers.GetRegionCodesForCountryCode(int(number.GetCountryCode())) {
		if phonenumbers.IsEmergencyNumber(national, region) {
			return never(consumer.RuleNumber, "An emergency number is never called.")
		}
	}
	if phonenumbers.IsValidShortNumber(number) {
		return never(consumer.RuleNumber, "A short number is never called.")
	}
	return nil
}

// checkRegion refuses a number of a region that is not to be called. A country code
// may serve many regions: a number that may be in any of them is in all.
func (n Numbers) checkRegion(number *phonenumbers.PhoneNumber) error {
	regions := []string{phonenumbers.GetRegionCodeForNumber(number)}
	if regions[0] == "" {
		regions = phonenumbers.GetRegionCodesForCountryCode(int(number.GetCountryCode()))
	}
	for _, region := range regions {
		if slices.Contains(n.Deny, region) || len(n.Allow) > 0 && !slices.Contains(n.Allow, region) {
			return never(consumer.RuleRegion, "This lane does not call numbers of %s.", region)
		}
	}
	return nil
}

// checkAddress refuses an e-mail address that cannot be one.
func checkAddress(to consumer.Recipient) error {
	at := strings.LastIndexByte(to.Address, '@')
	parsed, err := mail.ParseAddress(to.Address)
	if err != nil || parsed.Address != to.Address || len(to.Address) > 254 || at > 64 || !domain.MatchString(to.Address[at+1:]) {
		return refuse(to.Field, "The e-mail address is not one that mail could be sent to; it must look like ada@example.com.")
	}
	return nil
}

// domain is a name of at least two parts, of which the last is no number.
var domain = regexp.MustCompile(`^(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)+(?:[\p{L}]{2,63}|xn--[a-z0-9-]{1,59})$`)
