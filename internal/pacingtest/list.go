package pacingtest

import (
	"slices"
	"time"
)

// The engine's rules for lists.
const (
	proof  = 90 * time.Second // what a webhook told is confirmed after at most so long
	enough = 4                // calls that are due at once are asked for by a list
	page   = 100              // calls shown by one request
	skew   = time.Minute      // of the provider's clock, that a list allows for
)

// survey asks for many calls by a list if that is due: for those that webhooks told
// of, once they are as many as there are slots or one has waited for long; or for
// all, once enough are due. It reports whether it does. While what webhooks told
// waits it has itself called again.
func (c *weir) survey() bool {
	if !c.o.List || c.listing || c.nextGap > c.w.now {
		return false
	}
	var since time.Duration
	switch due := c.due(); {
	case len(c.told) > 0 && (len(c.told) >= c.w.sc.Limit || c.told[0].told+proof <= c.w.now):
		since = oldest(c.told)
	case due >= enough:
		since = oldest(append(slices.Clone(c.asked), c.told...))
	case len(c.told) > 0:
		c.wake(c.at(c.told[0].told + proof))
		return false
	default:
		return false
	}
	from, _ := slices.BinarySearch(c.births, since-skew)
	c.listing = true
	c.polling++
	c.nextGap = c.w.now + c.gap()
	c.turn((len(c.births)-from)/page, since, c.told)
	c.told = nil
	return true
}

// due counts the calls that are to be asked for now.
func (c *weir) due() (n int) {
	for _, s := range c.asked {
		if s.held && !s.polling && !s.doubt && s.poll <= c.w.now {
			n++
		}
	}
	return n
}

func oldest(all []*slot) time.Duration {
	first := all[0].since
	for _, s := range all {
		first = min(first, s.since)
	}
	return first
}

// turn asks for a page, and for more of them; then it is known what became of all
// calls since then.
func (c *weir) turn(more int, since time.Duration, told []*slot) {
	c.w.get(0, false, func(answer) {
		if c.dead {
			return
		}
		if more > 0 {
			c.turn(more-1, since, told)
			return
		}
		c.listing = false
		c.polling--
		for _, s := range told {
			delete(c.ledger, s.lead)
		}
		for _, s := range c.asked {
			if !s.held || s.polling || s.doubt || s.since < since {
				continue
			}
			if l := c.w.leads[s.lead]; l.ends > c.w.now {
				s.asked, s.poll = c.w.now, c.w.now+c.nextPoll(s)
			} else {
				c.found(s, l.length)
			}
		}
		c.plan()
	})
}
