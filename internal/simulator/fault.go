package simulator

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Faults are the probabilities, 0 to 1, with which create requests go wrong.
// At most one of the first group strikes a request, so their sum is at most 1;
// those of the second group strike independently. The kinds that say "made"
// need a conversation to have been made: a request that is refused for another
// reason is answered honestly.
//
// Lookups and lists are struck by Refuse503, HTML502, ResetEarly and Slow alone.
type Faults struct {
	Refuse503    float64 // nothing made, 503
	HTML502      float64 // nothing made, 502 with a page of HTML
	ResetEarly   float64 // nothing made, the connection is reset
	Accepted500  float64 // made, 500
	AcceptedHang float64 // made, never answered: closed when the client goes or after HangFor
	Cut          float64 // made, the body ends in the middle: too short for its Content-Length, or a chunk missing
	Reset        float64 // made, the connection is reset

	Shuffle    float64 // results and errors in another order than the items
	DropResult float64 // made, one result missing from the answer
	ItemError  float64 // one item, drawn at random, refused with bare text
	Slow       float64 // the answer drips for SlowFor

	HangFor time.Duration // default 30 s; also bounds an outage's hanging
	SlowFor time.Duration // default 1 s
}

// The names of faults in reports and in the proof log.
const (
	faultRefuse503    = "refuse_503"
	faultHTML502      = "html_502"
	faultResetEarly   = "reset_early"
	faultAccepted500  = "accepted_500"
	faultAcceptedHang = "accepted_hang"
	faultCut          = "cut"
	faultReset        = "reset"
	faultShuffle      = "shuffle"
	faultDropResult   = "drop_result"
	faultItemError    = "item_error"
	faultSlow         = "slow"
	faultTooMany      = "too_many" // AnyreachConfig.TooMany
)

// chance is one fault with its probability.
type chance struct {
	name string
	p    float64
}

// exclusive lists the first group, in the order in which they are drawn.
func (f Faults) exclusive() []chance {
	return []chance{
		{faultRefuse503, f.Refuse503},
		{faultHTML502, f.HTML502},
		{faultResetEarly, f.ResetEarly},
		{faultAccepted500, f.Accepted500},
		{faultAcceptedHang, f.AcceptedHang},
		{faultCut, f.Cut},
		{faultReset, f.Reset},
	}
}

// independent lists the second group.
func (f Faults) independent() []chance {
	return []chance{
		{faultShuffle, f.Shuffle},
		{faultDropResult, f.DropResult},
		{faultItemError, f.ItemError},
		{faultSlow, f.Slow},
	}
}

// validate joins every problem of the probabilities.
func (f Faults) validate() error {
	var errs []error
	for _, c := range slices.Concat(f.exclusive(), f.independent()) {
		if !(c.p >= 0 && c.p <= 1) {
			errs = append(errs, fmt.Errorf("faults.%s: %v is not between 0 and 1", c.name, c.p))
		}
	}
	var sum float64
	for _, c := range f.exclusive() {
		sum += c.p
	}
	// The tolerance is for sums such as 0.1 seven times, which floats miss.
	if sum > 1+1e-9 {
		errs = append(errs, fmt.Errorf("faults: those that exclude each other add up to %v, which is more than 1", sum))
	}
	if f.HangFor < 0 || f.SlowFor < 0 {
		errs = append(errs, errors.New("faults: hang_for and slow_for must not be negative"))
	}
	return errors.Join(errs...)
}

// plan is everything that chance decides about one request.
type plan struct {
	fault   string // of the first group; empty: none
	shuffle bool
	drop    bool
	refuse  bool // one item
	slow    bool
	own     [3]float64 // for the choices that only this provider has
	chunked bool       // a cut body is chunked rather than too short
	cut     float64
	latency time.Duration
	rng     *rand.Rand // for what else the provider draws, such as one of the items
}

// plan draws the plan of the n-th request of a stream. Every draw is made
// whether or not it is needed, so that one knob does not shift the others.
func (m manner) plan(stream, n uint64) plan {
	rng := draws(m.seed, stream, n)
	p := plan{fault: pick(m.faults.exclusive(), rng.Float64()), rng: rng}
	p.shuffle = rng.Float64() < m.faults.Shuffle
	p.drop = rng.Float64() < m.faults.DropResult
	p.refuse = rng.Float64() < m.faults.ItemError
	p.slow = rng.Float64() < m.faults.Slow
	p.own = [...]float64{rng.Float64(), rng.Float64(), rng.Float64()}
	p.chunked = rng.Float64() < 0.5
	p.cut = rng.Float64()
	p.latency = time.Duration((0.5 + rng.Float64()) * float64(m.latency))
	return p
}

// strikes names the faults that make an answer less than plain about what was not
// made, joined by "+"; empty if there are none. Some need a conversation that was
// made.
func (p plan) strikes(made bool) string {
	var all []string
	if made && p.fault != "" {
		all = append(all, p.fault)
	}
	if made && p.drop {
		all = append(all, faultDropResult)
	}
	if p.refuse {
		all = append(all, faultItemError)
	}
	return strings.Join(all, "+")
}

// pick returns the fault on which u falls when the chances lie side by side.
func pick(chances []chance, u float64) string {
	for _, c := range chances {
		if u < c.p {
			return c.name
		}
		u -= c.p
	}
	return ""
}

// choose returns the setting, or for Mixed the choice on which u falls.
func choose(setting string, u float64, choices ...string) string {
	if setting != Mixed {
		return setting
	}
	return choices[int(u*float64(len(choices)))]
}

// tally counts requests, faults and refusals.
type tally struct {
	mu       sync.Mutex
	requests map[string]int // by kind
	faults   map[string]int // by name
	full     int
}

func newTally() *tally {
	return &tally{requests: map[string]int{}, faults: map[string]int{}}
}

// request counts a request and returns its number among its kind, from 0.
func (t *tally) request(kind string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.requests[kind]
	t.requests[kind]++
	return uint64(n) //nolint:gosec // a count
}

// fault counts a fault that struck.
func (t *tally) fault(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults[name]++
}

// refusal counts an answer with status 429.
func (t *tally) refusal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.full++
}

// report fills in the tally's part of a report.
func (t *tally) report(r *Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Requests, r.Faults, r.Full = maps.Clone(t.requests), maps.Clone(t.faults), t.full
}
