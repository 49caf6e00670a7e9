// Package contact says who may be contacted, and when.
//
// Rules are those of one lane. They are asked with the recipient that the
// provider's own request names, at the moment of dispatch, and what they cannot
// judge is not sent:
//
//   - A number is dialled only in international form. Where the lane names a
//     region, a national number is taken for one of that region. Emergency, short
//     and premium-rate numbers are never dialled, nor those of a region that the
//     lane does not allow. A number that its country does not know is refused,
//     unless the lane says to send it.
//   - An e-mail address has the form of one.
//   - Where the lane asks for consent, an event that does not say so is not sent.
//   - A channel that has windows is used only while one of them is open by the
//     recipient's own clock. Which clock that is, is told by the event, else by
//     the number's prefix, else by the lane. A prefix that may mean many zones
//     means all of them. Where nothing tells, the event is refused.
//
// A window is a matter of the wall clock: it is open while the clock on the
// recipient's wall shows a time inside it, on one of its weekdays, on a day that is
// no holiday. So an hour that the clocks leave out is never inside, and one that
// they show twice is inside twice. A window that goes past midnight belongs to the
// day on which it opens; if that is a holiday, all of it is closed, and if the next
// day is, it closes at midnight.
//
// The package is pure but for the time zones, which it loads once: it has no clock
// and asks nobody.
package contact

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Config is what a lane says of contacts. The zero Config has no windows.
type Config struct {
	// Where gives the name of the recipient's time zone, of an event that has it;
	// nil: none does.
	Where *schema.Text
	// Zone is where a recipient is taken to be of whom nothing tells it; empty:
	// such a recipient is refused where there are windows.
	Zone     string
	Windows  []Window
	Holidays []Date
	// Spread is the time after an opening over which those who waited for it are
	// spread; 5 min.
	Spread  time.Duration
	Numbers Numbers
	// Consent is what an event must meet, or its person is not contacted; nil: each
	// does.
	Consent *schema.Condition
}

// Window is a time of the day at which people may be contacted.
type Window struct {
	Channels []string // in the provider's words; none: every channel
	Days     [7]bool  // by time.Weekday
	// From and To are minutes since midnight, 0 to 1440. A To that is not after
	// From is on the next day.
	From, To int
}

// Date is a day; of every year if Year is zero.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// Rules are a Config that was found right. They implement consumer.Contact and are
// safe for concurrent use.
type Rules struct {
	cfg  Config
	zone *time.Location // nil: none
	days days

	newest atomic.Pointer[dialable] // found by Number; Rule is mostly asked of the same one next
}

// New returns the rules of a lane.
func New(cfg Config) (*Rules, error) {
	cfg.Spread = cmp.Or(cfg.Spread, 5*time.Minute)
	r := &Rules{cfg: cfg, days: newDays(cfg.Holidays)}
	if cfg.Zone != "" {
		zone, err := loadZone(cfg.Zone)
		if err != nil {
			return nil, fmt.Errorf("contact: %w", err)
		}
		r.zone = zone
	}
	for _, w := range cfg.Windows {
		if w.Days == [7]bool{} || min(w.From, w.To) < 0 || max(w.From, w.To) > minutesOfDay || w.From == minutesOfDay || w.From == w.To {
			return nil, fmt.Errorf("contact: a window from minute %d to %d is never open", w.From, w.To)
		}
	}
	return r, nil
}

// Always are the rules of a lane that has none: emergency, short and premium-rate
// numbers are called by nobody. Numbers are taken as they are.
type Always struct{}

// Number implements consumer.Contact.
func (Always) Number(_, text string) (string, error) { return text, nil }

// Rule implements consumer.Contact.
func (Always) Rule(_ *schema.Reading, to consumer.Recipient) (consumer.Rule, error) {
	number, err := phonenumbers.Parse(to.Number, "")
	if err != nil {
		return nil, nil //nolint:nilerr // whether it can be called is the provider's to say
	}
	return nil, special(number)
}

// Rule implements consumer.Contact.
func (r *Rules) Rule(e *schema.Reading, to consumer.Recipient) (consumer.Rule, error) {
	if r.cfg.Consent != nil {
		met, err := e.Meets(r.cfg.Consent)
		if err != nil {
			return nil, err
		}
		if !met {
			return nil, never(consumer.RuleConsent, "The event does not say that this person agreed to be contacted (contact.consent).")
		}
	}
	if to.Number != "" {
		if err := r.checkNumber(to); err != nil {
			return nil, err
		}
	}
	if to.Address != "" {
		if err := checkAddress(to); err != nil {
			return nil, err
		}
	}
	var windows []Window
	for _, w := range r.cfg.Windows {
		if len(w.Channels) == 0 || slices.Contains(w.Channels, to.Channel) {
			windows = append(windows, w)
		}
	}
	if len(windows) == 0 {
		return nil, nil
	}
	zones, err := r.zones(e, to)
	if err != nil {
		return nil, err
	}
	return &times{windows: windows, days: r.days, zones: zones, spread: r.cfg.Spread}, nil
}

// zones are those that the recipient may be in.
func (r *Rules) zones(e *schema.Reading, to consumer.Recipient) ([]*time.Location, error) {
	if r.cfg.Where != nil {
		name, err := e.Text(r.cfg.Where)
		if err != nil {
			return nil, err
		}
		if name != "" {
			zone, err := loadZone(name)
			if err != nil {
				return nil, refuse("contact.zone", "The event says a time zone that is not known; it must be one such as Europe/Berlin, or none.")
			}
			return []*time.Location{zone}, nil
		}
	}
	if to.Number != "" {
		if zones := zonesOf(to.Number); len(zones) > 0 {
			return zones, nil
		}
	}
	if r.zone != nil {
		return []*time.Location{r.zone}, nil
	}
	return nil, refuse("contact.time_zone", "Nobody can tell what time it is where this person is: neither the event nor the number says so, and the lane has no contact.time_zone.")
}

// refuse returns the refusal of an event for the sake of one field.
func refuse(field, format string, args ...any) error {
	return &schema.Refusal{Class: schema.ClassRequest, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// never returns that a rule forbids to contact this recipient.
func never(rule, format string, args ...any) error {
	return &schema.Skip{Class: schema.ClassContact, Rule: rule, Reason: fmt.Sprintf(format, args...)}
}
