package config

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// Bounds of how often people are contacted. What is longer the ledger might not
// remember; that a cool-down is longer by a day is for the conversation.
const (
	maxCaps      = 10
	maxCapCount  = 50
	leastBack    = time.Minute
	mostBack     = 30 * 24 * time.Hour
	mostCoolDown = mostBack - 24*time.Hour
)

// often checks whether, and how often, the lane at path may contact a person.
func (d *decoder) often(path string, c *Contact) {
	if d.read(path + ".consent") {
		agreed, err := schema.CompileCondition(c.Consent)
		if err != nil {
			d.add(path+".consent", "%v", err)
		}
		c.Agreed = agreed
	}
	if at := path + ".purpose"; d.read(at) && !identity.MatchString(c.Purpose) {
		d.add(at, "must be 1 to 32 of a-z, 0-9 and -")
	}
	if at := path + ".once"; d.read(at) {
		within(d, at, c.Once, leastBack, mostBack)
	}
	if at := path + ".cool_down"; d.read(at) {
		within(d, at, c.CoolDown, leastBack, mostCoolDown)
	}
	d.redial(path+".redial", c.Redial)
	if len(c.Caps) > maxCaps {
		d.add(path+".caps", "must have at most %d caps", maxCaps)
	}
	for i, at := range d.whole(path+".caps", len(c.Caps)) {
		for _, key := range []string{"count", "per"} {
			if !d.has(at + "." + key) {
				d.add(at+"."+key, "is missing")
			}
		}
		if d.read(at + ".count") {
			within(d, at+".count", c.Caps[i].Count, 1, maxCapCount)
		}
		if d.read(at + ".per") {
			within(d, at+".per", c.Caps[i].Per, leastBack, mostBack)
		}
	}
}
