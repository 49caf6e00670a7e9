package ratelimiter_test

import (
	"fmt"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

func Example() {
	l := ratelimiter.New(ratelimiter.Config{Limit: 20})
	now := time.Date(2026, 10, 19, 12, 0, 0, 0, time.UTC)

	// All slots are free. Five are reserved, and a request is sent for five.
	n, _ := l.Permit(now)
	fmt.Println("permitted:", n, "known:", l.Known())
	l.Take(5)

	// It is answered: three were created, then the account was full.
	l.Observe(ratelimiter.Outcome{
		Began: now, Done: now.Add(120 * time.Millisecond),
		Sent: 5, Created: 3, Full: true,
		Reading: ratelimiter.Parse(map[string][]string{
			"X-Concurrency-Limit":     {"20"},
			"X-Concurrency-Remaining": {"0"},
		}, ratelimiter.Names{}, now),
	})
	l.Return(2)
	n, next := l.Permit(now.Add(time.Second))
	fmt.Println("permitted:", n, "next probe after:", next.Sub(now))

	// A webhook tells that one of the three is over.
	l.Freed(1)
	n, _ = l.Permit(now.Add(2 * time.Second))
	fmt.Println("permitted:", n)

	// Output:
	// permitted: 20 known: 20
	// permitted: 0 next probe after: 3.75s
	// permitted: 1
}

func ExampleParse() {
	r := ratelimiter.Parse(map[string][]string{
		"RateLimit-Policy": {`"calls";q=20;qu="concurrent-requests"`},
		"RateLimit":        {`"calls";r=3`},
		"Retry-After":      {"2"},
	}, ratelimiter.Names{}, time.Now())
	fmt.Println(r.Concurrency, r.Limit, r.Remaining, r.RetryAfter)
	// Output: true 20 3 2s
}

func ExampleBreaker() {
	b := ratelimiter.NewBreaker(ratelimiter.BreakerConfig{Failures: 2})
	for range 3 {
		done, err := b.Begin(ratelimiter.Trial)
		if err != nil {
			fmt.Println(err)
			break
		}
		done(ratelimiter.Failure)
	}
	fmt.Println(b.State(), b.Due())
	// Output:
	// the circuit breaker is open
	// open none
}
