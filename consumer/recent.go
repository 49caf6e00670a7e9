package consumer

import (
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// Recent is what happened to a lane lately, for whoever displays it: nothing is
// decided by it. It is known by the process that runs the lane, since it does.
type Recent struct {
	Breaker string `json:"breaker,omitempty"` // of the account: closed, half-open or open
	// Full and Unexplained count answers that refused for want of a slot: with our
	// own calls or the headers to explain it, or without. Foreign counts those of the
	// account that nothing explained in the last ForeignFor.
	Full        uint64 `json:"full"`
	Unexplained uint64 `json:"unexplained"`
	Foreign     int    `json:"foreign,omitempty"`
	// Waits counts the events that were seen and wait for their own sake, by cause.
	Waits map[string]int `json:"waits,omitempty"`
	// Refusals counts the events in a row of which no request could be made, for one
	// reason: that of Refusal.
	Refusals int    `json:"refusals,omitempty"`
	Refusal  string `json:"refusal,omitempty"`
	// Silent counts the ends in a row of which no webhook told before we asked, of a
	// lane that has an address for webhooks.
	Silent int `json:"silent,omitempty"`
}

// ForeignFor is how long an unexplained refusal counts in Recent.
const ForeignFor = 10 * time.Minute

// mostOdd bounds how many unexplained refusals are remembered.
const mostOdd = 100

// tally counts an answer that refused for want of a slot. The caller holds mu.
func (a *account) tally(ln *lane, refusal ratelimiter.Refusal, at time.Time) {
	switch refusal {
	case ratelimiter.NotRefused:
	case ratelimiter.Explained:
		ln.full++
	case ratelimiter.Unexplained:
		ln.odd++
		if len(a.odd) == mostOdd {
			a.odd = append(a.odd[:0], a.odd[1:]...)
		}
		a.odd = append(a.odd, at)
	}
}

// lately is what the account knows. The caller holds account.mu.
func (ln *lane) lately(now time.Time, breaker string) Recent {
	r := Recent{Breaker: breaker, Full: ln.full, Unexplained: ln.odd}
	if ln.cfg.Hooked {
		r.Silent = ln.silent
	}
	for _, at := range ln.a.odd {
		if now.Sub(at) < ForeignFor {
			r.Foreign++
		}
	}
	return r
}
