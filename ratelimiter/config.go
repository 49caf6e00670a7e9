package ratelimiter

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Probing is how a full account is probed for a free slot.
type Probing int

// The ways to probe.
const (
	// ProbeAuto asks for a status where the headers of such an answer tell limit
	// and remaining of conversations (see Look), and else for one conversation, as
	// far as the own books allow that.
	ProbeAuto Probing = iota
	// ProbeGet is as ProbeAuto, but where the headers of a status tell, it waits
	// for them to show room even if the own books do, as when others hold the slots:
	// no request is refused for want of one, and whoever asks gets it first.
	ProbeGet
	// ProbePost asks for a conversation, also if the own books are full: whoever
	// sets it vouches that the provider itself refuses what passes Limit. There
	// must be no Reserve. While each refusal asks for a long silence, and the
	// headers of a status tell, it is as ProbeAuto.
	ProbePost
)

// Config is what a Limiter is told. Zero fields get their defaults.
type Config struct {
	// Limit is how many conversations may exist at once. Headers lower and
	// restore it.
	Limit int
	// LimitMax is how far headers may raise the limit, and then only those whose
	// unit is known to be conversations. 0: never above Limit.
	LimitMax int
	// Reserve is how many slots are left to others. Default 0.
	Reserve int
	// MeanCall is how long a conversation lasts on average. Default 75 s.
	MeanCall time.Duration
	// Epsilon is the share of the slots that may stand idle: 0.025 (the default)
	// is frugal with requests, 0.01 is tight.
	Epsilon float64
	// Probe is how a full account is probed for a free slot.
	Probe Probing
	// Looks says that the caller asks Look too. Then it is left to a look to find
	// what a probe would find.
	Looks bool
	// MaxPause is the longest pause after refusals that nothing explains.
	// Default 15 s.
	MaxPause time.Duration
	// Rand returns a number in [0, 1) for the jitter of such pauses. Default:
	// math/rand/v2.
	Rand func() float64
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	c.MeanCall = cmp.Or(c.MeanCall, 75*time.Second)
	c.Epsilon = cmp.Or(c.Epsilon, 0.025)
	c.MaxPause = cmp.Or(c.MaxPause, 15*time.Second)
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return c
}

// Validate reports everything that is wrong, after defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Limit > 0, "limit: %d is not above 0", c.Limit)
	check(c.LimitMax == 0 || c.LimitMax >= c.Limit, "limit_max: %d is below limit %d", c.LimitMax, c.Limit)
	check(c.Reserve >= 0, "reserve: %d is negative", c.Reserve)
	check(c.Reserve < c.Limit || c.Limit <= 0, "reserve: %d leaves nothing of limit %d", c.Reserve, c.Limit)
	check(c.MeanCall > 0, "mean_call: %v is negative", c.MeanCall)
	check(c.Epsilon > 0 && c.Epsilon <= 0.5, "epsilon: %v is not above 0 and at most 0.5", c.Epsilon)
	check(c.Probe >= ProbeAuto && c.Probe <= ProbePost, "probe: %d is none", c.Probe)
	check(c.Probe != ProbePost || c.Reserve == 0, "probe: with a reserve of %d nobody refuses what is left to others", c.Reserve)
	check(c.MaxPause > 0, "max_pause: %v is negative", c.MaxPause)
	return errors.Join(errs...)
}
