package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// MayPost reports why the first byte of a lane's request may not be sent.
func (e *Engine) MayPost(lane string) error { return e.lanes[lane].mayPost(BootTime(), nil) }

// Ask sends a request of a lane, whatever was decided before.
func (e *Engine) Ask(ctx context.Context, lane string, b Batch) Answer {
	return e.lanes[lane].ask(ctx, b)
}

// Sorted reports how the orders of the slots differ from what the slots say.
func (e *Engine) Sorted() error {
	var errs []error
	for _, a := range e.accounts {
		a.mu.Lock()
		errs = append(errs, a.sorted())
		a.mu.Unlock()
	}
	return errors.Join(errs...)
}

// sorted holds each slot against its places, and each order against the rule of a
// heap. The caller holds mu.
func (a *account) sorted() error {
	var errs []error
	fail := func(s *slot, format string, args ...any) {
		errs = append(errs, fmt.Errorf("slot %v: %s", s.key, fmt.Sprintf(format, args...)))
	}
	now := time.Now()
	place := func(s *slot, name string, t *turn, want *order, at time.Duration) {
		switch {
		case t.of != want:
			fail(s, "it is in the wrong order of %s", name)
		case want != nil && (want.turns[t.i] != t || t.s != s):
			fail(s, "it is not in its place in %s", name)
		case want != nil && t.at != at:
			fail(s, "in %s at %v, want %v", name, t.at, at)
		}
	}
	for _, s := range a.slots {
		shelf := &a.others
		if s.held || s.doubt || s.early {
			shelf = &a.watched
		}
		if s.shelf != shelf {
			fail(s, "it is in the wrong shelf")
			continue
		}
		var asks, calls *order
		if s.conversation != "" && !s.polling {
			asks = &shelf.asks
			if s.pool.counted && !s.doubt && shelf == &a.watched {
				calls = &s.pool.calls
			}
		}
		place(s, "ends", &s.end, &shelf.ends, s.up(now))
		place(s, "asks", &s.ask, asks, a.instant(s.poll, now))
		place(s, "calls", &s.call, calls, a.instant(s.asked, now))
	}
	orders := []*order{&a.watched.ends, &a.watched.asks, &a.others.ends, &a.others.asks}
	for _, p := range a.pools {
		orders = append(orders, &p.calls)
	}
	for _, o := range orders {
		for i, t := range o.turns {
			if t.i != i || t.of != o || i > 0 && o.turns[(i-1)/2].at > t.at {
				fail(t.s, "no heap at %d", i)
			}
		}
	}
	return errors.Join(errs...)
}
