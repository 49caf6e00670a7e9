package pacingtest

import "time"

// Scenario is one cell of the table: a provider, its other users, and the leads.
type Scenario struct {
	Limit   int
	Changes []Change // of the limit, in order
	Partial bool     // creates what fits; else all of a request or nothing
	Headers bool     // tells limit and remaining on every answer, GETs too
	Lax     bool     // refuses nothing, whatever its limit

	Lag        time.Duration // its headers show the slots of so long ago
	RetryAfter time.Duration // on each 429, in whole seconds; 0: absent
	RoundTrip  time.Duration // median; default 120 ms

	OutageFrom, OutageTo time.Duration // every request fails, without headers; none if equal

	Neighbour     float64       // calls that others try to place, in multiples of the limit
	NeighbourFrom time.Duration // since when they do

	Backlog int           // leads at the start
	Load    float64       // leads that arrive, in multiples of what the limit can take
	For     time.Duration // how long they arrive; then the run is over
	Drop    time.Duration // of it, at the start, that does not count
}

// Change is a new limit.
type Change struct {
	At    time.Duration
	Limit int
}

// Result is what one run showed.
type Result struct {
	Makespan time.Duration // until the last lead was created
	Created  int           // of the time that counts, like all that follows
	Posts    int
	Looks    int           // GETs whose headers were wanted
	Polls    int           // GETs for the end of a call
	Refused  int           // requests of which nothing was created for want of a slot
	Idle     time.Duration // of slots, while leads waited
	Waits    []float64     // seconds from a lead's arrival to its creation, sorted
	Busy     float64       // share of the slots that were taken by calls of ours
	Highest  int           // most live calls of ours at once
	Over     int           // calls created while all slots were taken

	Filled   time.Duration // from the first rise of the limit, or the outage's end, until 95 % of the slots were busy; -1: never
	AfterCut int           // refusals in the 3 minutes after the limit fell
	InOutage int           // requests during the outage
	AtOutage int           // requests in its first 10 s
}

// PerCall is how many requests there were for each call created.
func (r Result) PerCall() float64 {
	return float64(r.Posts+r.Looks+r.Polls) / float64(max(r.Created, 1))
}

// RefusedPer100 is how many requests were refused for each 100 calls created.
func (r Result) RefusedPer100() float64 {
	return 100 * float64(r.Refused) / float64(max(r.Created, 1))
}

// IdlePerCall is how many seconds a slot stood idle, while leads waited, for each
// call created.
func (r Result) IdlePerCall() float64 { return r.Idle.Seconds() / float64(max(r.Created, 1)) }

// MeanWait is in seconds.
func (r Result) MeanWait() float64 {
	var sum float64
	for _, s := range r.Waits {
		sum += s
	}
	return sum / float64(max(len(r.Waits), 1))
}

// Wait is the q-th quantile of the waits, in seconds.
func (r Result) Wait(q float64) float64 {
	if len(r.Waits) == 0 {
		return 0
	}
	return r.Waits[min(int(q*float64(len(r.Waits))), len(r.Waits)-1)]
}
