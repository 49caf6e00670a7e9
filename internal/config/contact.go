package config

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// What becomes of a number that its country's numbering plan does not know.
const (
	InvalidRefuse = "refuse" // a dead letter
	InvalidSend   = "send"   // it is called all the same
)

// Contact is who a lane contacts, and when.
type Contact struct {
	// Zone is the expression that gives a recipient's time zone; default
	// data.time_zone.
	Zone string `yaml:"zone"`
	// TimeZone is where a recipient is taken to be of whom neither the event nor the
	// number tells it; default nowhere: such a recipient is not contacted.
	TimeZone string `yaml:"time_zone"`
	// Region is that of a number without a country, such as DE; default none: such a
	// number is refused.
	Region string `yaml:"region"`
	// Windows are the only times at which their channels are used.
	Windows []Window `yaml:"windows"`
	// Holidays are days on which no window opens.
	Holidays Holidays `yaml:"holidays"`
	// Spread is the time after an opening over which those who waited for it are
	// spread, 1s to 1h; default 5m.
	Spread  time.Duration `yaml:"spread"`
	Numbers Numbers       `yaml:"numbers"`
	// Consent is an expression that must give true; default none: nobody need agree.
	Consent string `yaml:"consent"`
	// Purpose is what contacts are counted for, together with those of the other
	// lanes that have it; default the lane's name. One to 32 of a-z, 0-9 and hyphen.
	Purpose string `yaml:"purpose"`
	// Once is the time within which nobody is contacted twice, 1m to 720h; default 0:
	// none.
	Once time.Duration `yaml:"once"`
	// Caps are at most ten.
	Caps []Cap `yaml:"caps"`
	// CoolDown is the time after an answered conversation within which its person is
	// not contacted, 1m to 696h; default 0: none.
	CoolDown time.Duration `yaml:"cool_down"`
	// Redial is when a call that nobody answered is made again; nil: never.
	Redial *Redial `yaml:"redial"`
	// Agreed is compiled from Consent; nil: none is asked for.
	Agreed *schema.Condition `yaml:"-"`
	// Where is compiled from Zone.
	Where *schema.Text `yaml:"-"`
}

func (c *Contact) defaults() {
	c.Zone, c.Spread, c.Numbers.Invalid = "data.time_zone", 5*time.Minute, InvalidRefuse
}

// Counts reports whether contacts are counted.
func (c *Contact) Counts() bool {
	return c != nil && (c.Purpose != "" || c.Once > 0 || len(c.Caps) > 0 || c.CoolDown > 0 || c.Redial != nil)
}

// Cap is the most contacts of one person within any time of that length.
type Cap struct {
	// Count is 1 to 50.
	Count int `yaml:"count"`
	// Per is 1m to 720h.
	Per time.Duration `yaml:"per"`
}

// Window is a time of the day.
type Window struct {
	// Channels are the provider's; default all.
	Channels []string `yaml:"channels"`
	// Days are weekdays such as mon, or mon-fri; default all.
	Days []string `yaml:"days"`
	// Hours are such as 09:00-20:00, or 22:00-02:00 past midnight.
	Hours string `yaml:"hours"`
	// On are the Days, by time.Weekday; From and To minutes of the Hours.
	On       [7]bool `yaml:"-"`
	From, To int     `yaml:"-"`
}

// Holidays are days, by the recipient's own calendar.
type Holidays struct {
	Dates []Date `yaml:"dates"`
	// File is a calendar (iCalendar) whose events are the days.
	File string `yaml:"file"`
	// All are those of both.
	All []Date `yaml:"-"`
}

// Date is a day; of every year if Year is zero.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// Numbers are those that may be called.
type Numbers struct {
	// Invalid is InvalidRefuse, the default, or InvalidSend.
	Invalid string `yaml:"invalid"`
	// Allow, if there are any, are the only regions that are called; Deny are not.
	Allow []string `yaml:"allow"`
	Deny  []string `yaml:"deny"`
}
