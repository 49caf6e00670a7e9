package console

import (
	"sync"
	"time"
)

// How often a token may be tried: at once, and then again. The second pair is for
// all addresses together, so that many of them are not many times as much. Right
// tokens count for nothing.
const (
	triesAtOnce    = 5
	tryAgain       = 10 * time.Second
	triesAllAtOnce = 50
	tryAllAgain    = time.Second
)

// mostAddresses are told apart. When there are more, those that have nothing to
// wait for are forgotten; if there is none, the newcomers count together.
const mostAddresses = 1000

// others is the newcomers' address.
const others = "others"

// throttle slows down those who guess at the token. Its methods may be called
// concurrently.
type throttle struct {
	mu   sync.Mutex
	all  *tries
	each map[string]*tries
}

func newThrottle() *throttle {
	return &throttle{all: &tries{most: triesAllAtOnce, every: tryAllAgain}, each: make(map[string]*tries)}
}

// try counts a try from an address, or says how long there is none.
func (t *throttle) try(from string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.of(from, now)
	wait := max(t.all.wait(now), one.wait(now))
	if wait == 0 {
		t.all.used++
		one.used++
	}
	return wait
}

// right takes a try back, for the token was right.
func (t *throttle) right(from string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range []*tries{t.all, t.of(from, now)} {
		b.used = max(0, b.used-1)
	}
}

// of returns the tries of an address. The caller holds mu.
func (t *throttle) of(from string, now time.Time) *tries {
	if t.each[from] == nil && len(t.each) >= mostAddresses {
		for old, b := range t.each {
			if b.settle(now); b.used == 0 {
				delete(t.each, old)
			}
		}
		if len(t.each) >= mostAddresses {
			from = others
		}
	}
	b := t.each[from]
	if b == nil {
		b = &tries{most: triesAtOnce, every: tryAgain, at: now}
		t.each[from] = b
	}
	return b
}

// tries are those that were used; one comes back every so often.
type tries struct {
	most  float64
	every time.Duration
	used  float64
	at    time.Time // until when used was counted down
}

func (b *tries) settle(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.used, b.at = max(0, b.used-float64(passed)/float64(b.every)), now
	}
}

// wait is how long there is no try; 0: there is one.
func (b *tries) wait(now time.Time) time.Duration {
	b.settle(now)
	over := b.used + 1 - b.most
	if over <= 1e-9 {
		return 0
	}
	return max(time.Duration(over*float64(b.every)), time.Nanosecond)
}
