package main

import (
	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/contact"
)

// redials says when a lane calls people again.
func redials(c *config.Contact) consumer.Redials {
	if c == nil || c.Redial == nil {
		return consumer.Redials{}
	}
	return consumer.Redials{After: c.Redial.Waits(), On: c.Redial.On}
}

// contactRules are those of a lane. A lane that says nothing of contacts has some
// too: there are numbers that are called by nobody.
func contactRules(lc config.Lane) (consumer.Contact, error) {
	c := lc.Contact
	if c == nil {
		return contact.Always{}, nil
	}
	out := contact.Config{
		Consent: c.Agreed, Where: c.Where, Zone: c.TimeZone, Spread: c.Spread,
		Numbers: contact.Numbers{
			Region: c.Region, SendInvalid: c.Numbers.Invalid == config.InvalidSend, Allow: c.Numbers.Allow, Deny: c.Numbers.Deny,
		},
	}
	for _, w := range c.Windows {
		out.Windows = append(out.Windows, contact.Window{Channels: w.Channels, Days: w.On, From: w.From, To: w.To})
	}
	for _, day := range c.Holidays.All {
		out.Holidays = append(out.Holidays, contact.Date(day))
	}
	return contact.New(out)
}
