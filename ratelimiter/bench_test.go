package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// BenchmarkLimiter takes a slot, enters the answer to its request and the end of its
// call.
func BenchmarkLimiter(b *testing.B) {
	l := ratelimiter.New(ratelimiter.Config{Limit: 20, MeanCall: time.Minute})
	now := time.Now()
	header := map[string][]string{"X-Ratelimit-Limit": {"20"}, "X-Ratelimit-Remaining": {"19"}}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		if n, _ := l.Permit(now); n == 0 {
			b.Fatal("no slot")
		}
		l.Take(1)
		done := now.Add(5 * time.Millisecond)
		l.Observe(ratelimiter.Outcome{
			Began: now, Done: done, Sent: 1, Created: 1,
			Reading: ratelimiter.Parse(header, ratelimiter.Names{}, done),
		})
		l.Freed(1)
	}
}
