package gateway

import (
	"sync"
	"time"
)

// burst is how many seconds' worth of events may come at once.
const burst = 10

// bucket bounds a rate.
type bucket struct {
	rate float64 // a second

	mu   sync.Mutex
	left float64 // below zero after a batch that is larger than the bucket
	at   time.Time
}

func newBucket(rate int, now time.Time) *bucket {
	return &bucket{rate: float64(rate), left: float64(rate * burst), at: now}
}

// take takes n, or none and says after what time they would be there. More than
// the bucket holds is given when it is full, and paid for afterwards.
func (b *bucket) take(now time.Time, n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := b.wait(now, n); wait > 0 {
		return wait
	}
	b.left -= float64(n)
	return 0
}

// wait says after what time n would be there.
func (b *bucket) wait(now time.Time, n int) time.Duration {
	full := b.rate * burst
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left, b.at = min(full, b.left+passed*b.rate), now
	}
	lacking := min(float64(n), full) - b.left
	if lacking <= 0 {
		return 0
	}
	return max(time.Duration(lacking/b.rate*float64(time.Second)), time.Nanosecond)
}
