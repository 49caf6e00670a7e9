package pacingtest

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// answer is what a client hears.
type answer struct {
	began, done      time.Duration
	created          int  // of the leads asked for, the first so many
	full             bool // at least one was refused for want of a slot
	failed           bool // no answer of the provider's
	limit, remaining int  // -1 if the answer does not tell
	retryAfter       time.Duration
	ended            bool // of a GET: the call is over
	length           time.Duration
}

// trip draws half a round trip.
func (w *world) trip() time.Duration {
	return time.Duration(float64(w.sc.RoundTrip) / 2 * math.Exp(0.3*w.trips.NormFloat64()))
}

// counts reports whether what happens now counts.
func (w *world) counts() bool { return w.now >= w.sc.Drop }

// down reports whether the provider is out of order.
func (w *world) down() bool { return w.now >= w.sc.OutageFrom && w.now < w.sc.OutageTo }

// sent counts a request that an outage may meet.
func (w *world) sent() {
	if w.down() {
		w.r.InOutage++
		if w.now < w.sc.OutageFrom+10*time.Second {
			w.r.AtOutage++
		}
	}
}

// post asks for a call to each of the leads.
func (w *world) post(leads []int, done func(answer)) {
	a := answer{began: w.now}
	if w.counts() {
		w.r.Posts++
	}
	w.sent()
	r := &request{leads: leads}
	w.coming = append(w.coming, r)
	w.in(w.trip(), func() {
		w.coming = slices.DeleteFunc(w.coming, func(other *request) bool { return other == r })
		if r.lost {
			return
		}
		if !w.tell(&a) {
			w.create(leads, &a)
		}
		w.in(w.trip(), func() { a.done = w.now; done(a) })
	})
}

// request is one that is on its way to the provider.
type request struct {
	leads []int
	lost  bool
}

// cut tells that whoever sent what is on its way is no more. Half of that never
// arrives, and nobody asks for it again.
func (w *world) cut(rng *rand.Rand) {
	for _, r := range w.coming {
		if r.lost = rng.IntN(2) == 0; r.lost {
			w.missing -= len(r.leads)
		}
	}
}

// get asks for the call of a lead. It counts as a look if its headers are what is
// wanted.
func (w *world) get(lead int, look bool, done func(answer)) {
	a := answer{began: w.now}
	switch {
	case !w.counts():
	case look:
		w.r.Looks++
	default:
		w.r.Polls++
	}
	w.sent()
	w.in(w.trip(), func() {
		if !w.tell(&a) {
			l := w.leads[lead]
			a.ended, a.length = l.ends <= w.now, l.length
			w.headers(&a)
		}
		w.in(w.trip(), func() { a.done = w.now; done(a) })
	})
}

// tell begins an answer and reports whether it is that of an outage.
func (w *world) tell(a *answer) bool {
	a.limit, a.remaining = -1, -1
	a.failed = w.down()
	return a.failed
}

// create makes the calls that there is room for.
func (w *world) create(leads []int, a *answer) {
	free := max(0, w.limit-w.ours-w.others)
	a.created = len(leads)
	if !w.sc.Lax && len(leads) > free {
		a.full = true
		a.created = 0
		if w.sc.Partial {
			a.created = free
		}
	}
	if a.created == 0 {
		a.retryAfter = w.sc.RetryAfter
		w.refused()
	}
	for _, i := range leads[:a.created] {
		w.begin(i)
	}
	if w.handled != nil {
		w.handled(len(leads))
	}
	w.headers(a)
}

// refused counts a 429.
func (w *world) refused() {
	if w.counts() {
		w.r.Refused++
	}
	for i, ch := range w.sc.Changes {
		if i > 0 && ch.Limit < w.sc.Changes[i-1].Limit && w.now >= ch.At && w.now < ch.At+3*time.Minute {
			w.r.AfterCut++
		}
	}
}

// begin begins the call of a lead.
func (w *world) begin(i int) {
	l := &w.leads[i]
	if w.ours+w.others >= w.limit {
		w.r.Over++
	}
	l.ends = w.now + l.length
	w.ours++
	w.missing--
	w.note()
	w.r.Makespan = w.now
	if w.counts() {
		w.r.Created++
		w.r.Waits = append(w.r.Waits, (w.now - l.arrived).Seconds())
	}
	w.in(l.length, func() {
		w.ours--
		w.note()
		if w.onEnd != nil {
			w.onEnd(i)
		}
	})
}

// headers tells the limit and what remains of it, as it was a while ago.
func (w *world) headers(a *answer) {
	if !w.sc.Headers {
		return
	}
	n := w.ours + w.others
	if w.sc.Lag > 0 {
		n = 0
		for len(w.used) > 1 && w.used[1].at <= w.now-w.sc.Lag {
			w.used = w.used[1:]
		}
		if len(w.used) > 0 && w.used[0].at <= w.now-w.sc.Lag {
			n = w.used[0].n
		}
	}
	a.limit, a.remaining = w.limit, max(0, w.limit-n)
}
