package ratelimiter_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// Headers whose name speaks of concurrent requests count requests at some
// providers: one that is answered sees itself, and hardly ever anything else. Who
// takes the conversations that they do not count for over passes the limit, again
// and again. A few are passed until it shows, where few slots meet the requests
// of others.
func TestHeadersThatCountRequestsFreeNothing(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 2, 3, 5, 10, 20, 100} {
		for _, others := range []int{0, 1, 2} { // of their requests, at most
			for _, pause := range []time.Duration{100 * time.Millisecond, time.Second, 7 * time.Second} {
				t.Run(fmt.Sprintf("limit=%d/others=%d/pause=%v", limit, others, pause), func(t *testing.T) {
					t.Parallel()
					if live := countingRequests(limit, others, pause); live > limit+limit/10+3 {
						t.Errorf("got %d conversations at once, want hardly more than %d", live, limit)
					}
				})
			}
		}
	}
}

// countingRequests returns how many conversations are created, of which none
// ends, in an hour with a status between each two.
func countingRequests(limit, others int, pause time.Duration) (live int) {
	l := ratelimiter.New(ratelimiter.Config{Limit: limit, Looks: true})
	d := rand.New(rand.NewPCG(uint64(limit), uint64(others)))
	header := func(now time.Time) ratelimiter.Reading {
		n := strconv.Itoa(min(limit, 1+d.IntN(1+others)))
		return ratelimiter.Parse(map[string][]string{
			"Current-Concurrent-Requests": {n}, "Maximum-Concurrent-Requests": {strconv.Itoa(limit)},
		}, ratelimiter.Names{}, now)
	}
	for now, end := noon, noon.Add(time.Hour); now.Before(end); {
		now = now.Add(pause)
		if n, _ := l.Permit(now); n > 0 {
			l.Take(1)
			began := now
			now = now.Add(100 * time.Millisecond)
			l.Observe(ratelimiter.Outcome{Began: began, Done: now, Sent: 1, Created: 1, Reading: header(now)})
			live++
		}
		l.Observe(ratelimiter.Outcome{Began: now, Done: now, Reading: header(now)})
	}
	return live
}

// A provider may answer a create from where it is counted, and a status from a copy
// that is half a minute behind.
func TestAStatusThatLagsFreesNothing(t *testing.T) {
	t.Parallel()
	l := ratelimiter.New(ratelimiter.Config{Limit: 20, Looks: true})
	var births []time.Time
	reading := func(now time.Time, lag time.Duration) ratelimiter.Reading {
		used := 0
		for _, at := range births {
			if !at.After(now.Add(-lag)) {
				used++
			}
		}
		return ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: max(20, used), Remaining: max(0, 20-used)}
	}
	for now, end := noon, noon.Add(2*time.Minute); now.Before(end); {
		now = now.Add(200 * time.Millisecond)
		if n, _ := l.Permit(now); n > 0 {
			l.Take(1)
			began := now
			now = now.Add(100 * time.Millisecond)
			births = append(births, now)
			l.Observe(ratelimiter.Outcome{Began: began, Done: now, Sent: 1, Created: 1, Reading: reading(now, 0)})
		} else if due, _ := l.Look(now); due {
			l.Observe(ratelimiter.Outcome{Began: now, Done: now, Reading: reading(now, 30*time.Second)})
		}
	}
	if len(births) > 20 { // none of them has ended
		t.Errorf("got %d conversations at once, want at most 20", len(births))
	}
}
