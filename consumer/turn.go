package consumer

import (
	"container/heap"
	"time"
)

// order has slots in the order of a time that each of them has there. It is a heap:
// to change a slot's time costs the logarithm of their number, and to find the first
// one nothing. It is under account.mu.
type order struct{ turns turns }

// turn is a slot's place in an order.
type turn struct {
	s  *slot
	of *order        // nil: it has none
	at time.Duration // by the account's clock: see instant
	i  int           // in of.turns
}

// turns is a heap.Interface.
type turns []*turn

func (h turns) Len() int           { return len(h) }
func (h turns) Less(i, j int) bool { return h[i].at < h[j].at }

func (h turns) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].i, h[j].i = i, j
}

func (h *turns) Push(x any) {
	t := x.(*turn)
	t.i = len(*h)
	*h = append(*h, t)
}

func (h *turns) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}

// never is a time that does not come, and -never one that has come.
const never = 100 * 365 * 24 * time.Hour

// instant is a time by the monotonic clock, from when the account was made. An order
// holds these, for of the times themselves some are by the time of day (what the
// ledger tells), and where that is set there is no order among them.
func (a *account) instant(t, now time.Time) time.Duration {
	return now.Sub(a.made) + min(max(t.Sub(now), -never), never)
}

// moment is the time of an instant.
func (a *account) moment(at time.Duration, now time.Time) time.Time {
	return now.Add(at - now.Sub(a.made))
}

// move gives a slot its place in an order, or takes it out of all with nil.
func (t *turn) move(to *order, at time.Duration) {
	if t.of != to && t.of != nil {
		heap.Remove(&t.of.turns, t.i)
		t.of = nil
	}
	switch {
	case to == nil:
	case t.of == nil:
		t.of, t.at = to, at
		heap.Push(&to.turns, t)
	case t.at != at:
		t.at = at
		heap.Fix(&to.turns, t.i)
	}
}

// first is the slot whose time is the earliest; nil if there is none.
func (o *order) first() *slot {
	if len(o.turns) == 0 {
		return nil
	}
	return o.turns[0].s
}

// until returns the slots whose time is at the latest then, in no order. None of the
// others is gone through.
func (o *order) until(then time.Duration) (all []*slot) {
	for pending := []int{0}; len(pending) > 0; {
		i := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if i < len(o.turns) && o.turns[i].at <= then {
			all = append(all, o.turns[i].s)
			pending = append(pending, 2*i+1, 2*i+2)
		}
	}
	return all
}

// slots returns all slots, in no order.
func (o *order) slots() []*slot {
	all := make([]*slot, len(o.turns))
	for i, t := range o.turns {
		all[i] = t.s
	}
	return all
}

// shelf is slots of an account that are watched, or that are not: all by when their
// time is up, and those that can be asked for by when that is due.
type shelf struct{ ends, asks order }

// sort puts a slot where its times and what is known of it belong. Whoever changes
// one of them calls it, or file. The caller holds mu.
func (s *slot) sort() {
	a := s.pool.a
	if s.shelf == nil {
		s.end.move(nil, 0)
		s.ask.move(nil, 0)
		s.call.move(nil, 0)
		return
	}
	now := time.Now()
	s.end.move(&s.shelf.ends, s.up(now))
	if s.conversation == "" || s.polling {
		s.ask.move(nil, 0)
		s.call.move(nil, 0)
		return
	}
	s.ask.move(&s.shelf.asks, a.instant(s.poll, now))
	if s.pool.counted && !s.doubt && s.shelf == &a.watched {
		s.call.move(&s.pool.calls, a.instant(s.asked, now))
	} else {
		s.call.move(nil, 0)
	}
}

// up is when a slot's time is up: it is held no longer, or nothing more will be heard
// of it.
func (s *slot) up(now time.Time) time.Duration {
	switch {
	case s.held:
		return s.pool.a.instant(s.until, now)
	case s.polling:
		return never
	case s.conversation == "":
		return -never
	default:
		return s.pool.a.instant(s.until, now) + lateEnds + 1
	}
}
