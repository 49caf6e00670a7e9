package ratelimiter

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// ErrOpen means that no request may begin: the breaker is open, or half-open and
// busy with a step.
var ErrOpen = errors.New("the circuit breaker is open")

// Result is what one request says about the provider's health.
type Result int

// The results. Neutral is an answer that speaks neither for nor against the
// provider, such as full or rejected: a closed breaker does not count it, but for
// one that is half-open it is a success, since the provider answered. Unused is a
// permission given back: nothing was sent.
const (
	Success Result = iota + 1
	Failure        // no answer, or one that says that the provider is in trouble
	Fatal          // unauthorized: opens at once
	Neutral
	Unused
)

// Step is what a half-open breaker lets through next.
type Step int

// The steps. None: the breaker is not half-open, or a step is under way. Each
// must succeed for the next one, and the second closes the breaker.
const (
	None  Step = iota
	Probe      // a request that changes nothing, to see whether the provider answers
	Trial      // one real request
)

// String returns the step's name in logs.
func (s Step) String() string {
	switch s {
	case Probe:
		return "probe"
	case Trial:
		return "trial"
	default:
		return "none"
	}
}

// steps is how many successes in a row close a half-open breaker.
const steps = 2

// BreakerConfig is what a Breaker is told. Zero fields get their defaults.
type BreakerConfig struct {
	// Failures in a row open the breaker. Default 5.
	Failures int
	// Open is how long it lets nothing through. Default 12 s.
	Open time.Duration
	// OnChange is told of each change of state, in order. It must not call the
	// Breaker.
	OnChange func(from, to string)
}

// Breaker stops requests to a provider that fails. It is safe for concurrent use.
//
// Its states are closed, open and half-open. Time alone changes nothing: an open
// breaker becomes half-open when it is asked after its time, so whoever waits for
// that asks State again, by a timer.
type Breaker struct {
	mu      sync.Mutex // held over each call below, so that two of them are one step
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	fatal   bool // the failure that is being counted opens at once; under mu
}

// NewBreaker returns a closed Breaker. It panics if cfg has negative fields.
func NewBreaker(cfg BreakerConfig) *Breaker {
	if cfg.Failures < 0 || cfg.Open < 0 {
		panic("ratelimiter: a breaker's failures and open time cannot be negative")
	}
	failures := cmp.Or(cfg.Failures, 5)
	b := &Breaker{}
	settings := gobreaker.Settings{
		MaxRequests: steps,
		// The library compares with "after": one less lets a timer of exactly
		// Open find the breaker half-open. Never 0, which would mean a minute.
		Timeout: max(1, cmp.Or(cfg.Open, 12*time.Second)-1),
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return b.fatal || int(c.ConsecutiveFailures) >= failures
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errUncounted) },
	}
	if cfg.OnChange != nil {
		settings.OnStateChange = func(_ string, from, to gobreaker.State) {
			cfg.OnChange(from.String(), to.String())
		}
	}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](settings)
	return b
}

// State returns closed, open or half-open. Asking makes an open breaker
// half-open if its time has come.
func (b *Breaker) State() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.circuit.State().String()
}

// Due returns the step that a half-open breaker waits for. It too makes an open
// breaker half-open if its time has come.
func (b *Breaker) Due() Step {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.due()
}

// due is Due with the lock held.
func (b *Breaker) due() Step {
	if b.circuit.State() != gobreaker.StateHalfOpen {
		return None
	}
	c := b.circuit.Counts()
	switch {
	case c.Requests > c.TotalSuccesses+c.TotalExclusions: // a failure would have opened it
		return None
	case c.TotalSuccesses == 0:
		return Probe
	default:
		return Trial
	}
}

// Begin asks permission for one request, and says as which step it could pass: as
// None if it is neither, such as a request of many. If permission is given, done
// must be called exactly once with the result; further calls do nothing, and so
// does a result that comes after the state has changed. A closed breaker permits
// every request, a half-open one only the step that Due names, one at a time.
func (b *Breaker) Begin(as Step) (done func(Result), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	halfOpen := b.circuit.State() == gobreaker.StateHalfOpen
	if due := b.due(); halfOpen && (due == None || due != as) {
		return nil, ErrOpen
	}
	report, err := b.circuit.Allow()
	if err != nil {
		return nil, ErrOpen
	}
	var once sync.Once
	return func(r Result) { once.Do(func() { b.end(report, r, halfOpen) }) }, nil
}

// What the circuit is told about a request that was no success.
var (
	errFailed    = errors.New("failed")
	errUncounted = errors.New("not counted")
)

// end counts one result. A result that is none of ours counts as a failure.
func (b *Breaker) end(report func(error), r Result, halfOpen bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r == Success, r == Neutral && halfOpen:
		report(nil)
	case r == Neutral, r == Unused:
		report(errUncounted)
	default:
		b.fatal = r == Fatal
		report(errFailed)
	}
}
