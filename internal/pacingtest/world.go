package pacingtest

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Client asks for the conversations.
type Client interface {
	// start is called once, before anything happens.
	start(w *world)
	// arrived tells that leads wait that did not before.
	arrived()
}

// lead is somebody to be called.
type lead struct {
	arrived time.Duration
	length  time.Duration
	ends    time.Duration // of its call; 0 while there is none
}

// world is one run.
type world struct {
	clock
	sc    Scenario
	seed  uint64
	rng   *rand.Rand // of arrivals
	trips *rand.Rand // of round trips
	crowd *rand.Rand // of others' calls
	c     Client

	leads   []lead
	waiting []int // leads that nobody asks for now, the next one first
	missing int   // leads that arrived and were not created
	limit   int
	ours    int
	others  int
	used    []sample // of ours and others, for headers that lag
	coming  []*request

	onEnd   func(lead int) // tells that a call ended
	handled func(n int)    // tells that a request for n calls was handled
	sleep   func(time.Duration)
	r       Result
	busy    time.Duration
	mark    time.Duration // from when Filled counts; -1 if it does not
}

// sample is how many slots were taken from a moment on.
type sample struct {
	at time.Duration
	n  int
}

// Run lets a client work through a scenario. A sleep that is not nil is called for
// each stretch of time that passes, for clients with clocks of their own.
func Run(sc Scenario, seed uint64, c Client, sleep func(time.Duration)) Result {
	if sc.RoundTrip == 0 {
		sc.RoundTrip = 120 * time.Millisecond
	}
	w := &world{
		sc: sc, seed: seed, limit: sc.Limit, c: c, sleep: sleep, mark: -1,
		rng: rand.New(rand.NewPCG(seed, 1)), trips: rand.New(rand.NewPCG(seed, 2)), crowd: rand.New(rand.NewPCG(seed, 3)),
	}
	w.r.Filled = -1
	w.script()
	c.start(w)
	w.lead(sc.Backlog)
	if sc.Load > 0 {
		w.arrivals()
	}
	for !w.over() {
		e := w.next()
		w.pass(e.at)
		e.do()
	}
	slices.Sort(w.r.Waits)
	w.r.Busy = w.busy.Seconds() / ((w.now - sc.Drop).Seconds() * float64(sc.Limit))
	return w.r
}

// over reports whether the run has shown what it can.
func (w *world) over() bool {
	if w.sc.For > 0 {
		return w.now >= w.sc.For
	}
	return w.missing == 0
}

// pass lets time pass until then.
func (w *world) pass(then time.Duration) {
	d := then - w.now
	if w.sleep != nil && d > 0 {
		w.sleep(d)
	}
	w.now = then
	if then <= w.sc.Drop {
		return
	}
	w.busy += d * time.Duration(w.ours)
	if w.missing > 0 {
		w.r.Idle += d * time.Duration(max(0, w.limit-w.ours-w.others))
	}
}

// script schedules what happens whatever the client does.
func (w *world) script() {
	for _, ch := range w.sc.Changes {
		w.in(ch.At, func() {
			if ch.Limit > w.limit && w.mark < 0 {
				w.mark = w.now
			}
			w.limit = ch.Limit
		})
	}
	if w.sc.OutageTo > w.sc.OutageFrom {
		w.in(w.sc.OutageTo, func() { w.mark = w.now })
	}
	if w.sc.Neighbour > 0 {
		w.in(w.sc.NeighbourFrom, w.neighbour)
	}
	if w.sc.For > 0 {
		w.in(w.sc.For, func() {})
	}
}

// lead has n leads arrive.
func (w *world) lead(n int) {
	for range n {
		w.waiting = append(w.waiting, len(w.leads))
		w.leads = append(w.leads, lead{arrived: w.now, length: callLength(w.rng)})
		w.missing++
	}
	if n > 0 {
		w.c.arrived()
	}
}

// arrivals has leads arrive for ever.
func (w *world) arrivals() {
	mean := MeanCall.Seconds() / (w.sc.Load * float64(w.sc.Limit))
	w.in(seconds(w.rng.ExpFloat64()*mean), func() {
		w.lead(1)
		w.arrivals()
	})
}

// neighbour has others place calls now and then; they give up if there is no slot.
func (w *world) neighbour() {
	mean := MeanCall.Seconds() / (w.sc.Neighbour * float64(w.sc.Limit))
	w.in(seconds(w.crowd.ExpFloat64()*mean), func() {
		if w.ours+w.others < w.limit {
			w.others++
			w.note()
			w.in(callLength(w.crowd), func() { w.others--; w.note() })
		}
		w.neighbour()
	})
}

// note remembers how many slots are taken, if headers lag.
func (w *world) note() {
	w.r.Highest = max(w.r.Highest, w.ours)
	if w.mark >= 0 && w.r.Filled < 0 && float64(w.ours+w.others) >= 0.95*float64(w.limit) {
		w.r.Filled = w.now - w.mark
	}
	if w.sc.Lag > 0 {
		w.used = append(w.used, sample{w.now, w.ours + w.others})
	}
}

// take takes up to n leads that wait.
func (w *world) take(n int) []int {
	n = max(0, min(n, len(w.waiting)))
	leads := slices.Clone(w.waiting[:n])
	w.waiting = w.waiting[n:]
	return leads
}

// giveBack puts leads back: they are the next ones again.
func (w *world) giveBack(leads []int) {
	w.waiting = append(slices.Clone(leads), w.waiting...)
}
