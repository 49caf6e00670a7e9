package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

func TestLimiterProbe(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(20, 15, false, "X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 0") // five bad numbers
	d.wants(0, tau)
	d.after(tau - 1)
	d.wants(0, 1)
	d.after(1)
	d.wants(1, 0)
	d.wantsKnown(0)
	d.l.Take(1)
	d.wants(0, 0) // one at a time
	d.l.Return(1) // nothing was there to send
	d.wants(1, 0) // so it is still due
	d.wantsKnown(0)
	d.post(1, 1, false, "X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 2")
	d.wants(2, 0)
	d.wantsKnown(2)
	d.post(2, 2, false, "X-Concurrency-Remaining: 0")
	d.after(tau)
	d.post(1, 1, false, "X-Concurrency-Remaining: 0") // it was the only one
	d.wants(0, tau)
}

func TestLimiterProbeInterval(t *testing.T) {
	t.Parallel()
	tests := []struct {
		cfg  ratelimiter.Config
		want time.Duration
	}{
		{ratelimiter.Config{}, tau},
		{ratelimiter.Config{Epsilon: 0.01}, 1500 * time.Millisecond},
		{ratelimiter.Config{MeanCall: time.Hour}, 15 * time.Second},
		{ratelimiter.Config{MeanCall: 5 * time.Second, Epsilon: 0.01}, 250 * time.Millisecond},
		{ratelimiter.Config{MeanCall: time.Second}, 50 * time.Millisecond},
		{ratelimiter.Config{MeanCall: time.Second, Epsilon: 0.001}, 50 * time.Millisecond},
	}
	for _, tt := range tests {
		tt.cfg.Limit = 20
		d := newDesk(t, tt.cfg)
		d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
		d.wants(0, tt.want)
	}
}

// A probe that was created asks for more at once; after four in a row, and a
// lone refusal before, for twice as much.
func TestLimiterProbesWithoutHeaders(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(20, 10, true)
	d.wants(0, tau)
	d.after(tau)
	d.post(1, 0, true) // alone
	d.after(tau)
	for range 4 {
		d.wants(1, 0)
		d.post(1, 1, false)
	}
	d.wants(2, 0)
	d.post(2, 2, false)
	d.wants(4, 0)
	d.post(4, 4, false)
	d.wants(0, 0)
	d.l.Freed(20)
	d.wants(20, 0)
	d.wantsKnown(20)
}

// The slot of a rejected item is as free as it was.
func TestLimiterRejectedKeepsItsSlot(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(20, 10, true)
	d.l.Freed(2)
	d.post(2, 0, false)
	d.wants(2, 0)
	d.post(2, 1, false)
	d.wants(1, 0)
	d.post(1, 1, false)
	d.wants(0, tau)
	d.after(tau)
	d.post(1, 0, false) // the probe is rejected: nothing was learned
	d.wants(0, tau)
}

// A probe is over with its own answer, not with that of an older request.
func TestLimiterProbeAndLateAnswer(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.l.Permit(d.now)
	d.l.Take(1)
	began := d.now
	d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
	d.after(tau)
	d.wants(1, 0)
	d.l.Take(1)
	d.l.Observe(ratelimiter.Outcome{Began: began, Done: d.now, Sent: 1, Created: 1})
	d.after(time.Minute)
	d.wants(0, 0)
	d.answer(1, 1, false)
	d.wants(1, 0)
}

// A request that seems to have begun before it was permitted wedges nothing.
func TestLimiterProbeWithWrongTimes(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
	d.after(tau)
	d.wants(1, 0)
	d.l.Take(1)
	d.l.Observe(ratelimiter.Outcome{Sent: 1, Created: 1, Done: d.now})
	d.wants(1, 0)
}

// Doubling needs proof that a request above the limit is refused as a whole.
func TestLimiterDoublesOnlyAfterLoneRefusal(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(20, 10, true)
	d.after(tau)
	for range 9 {
		d.wants(1, 0)
		d.post(1, 1, false)
	}
}

// A webhook may overtake the answer that it belongs to.
func TestLimiterEndBeforeAnswer(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
	d.after(tau)
	d.wants(1, 0)
	d.l.Take(1)
	d.l.Freed(1)
	d.wants(1, 0)
	d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
	d.after(tau)
	d.wants(1, 0)
	d.answer(1, 1, false, "X-Concurrency-Remaining: 3")
	d.wants(3, 0)
}

// Promise 4: an end that is reported opens its slot at once, also while probes
// wait; but nothing breaks a Retry-After.
func TestLimiterFreedOpensAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(20, 12, true)
	d.wants(0, tau)
	d.l.Freed(2)
	d.wants(2, 0)
	d.wantsKnown(0)
	d.post(1, 1, false)
	d.wantsKnown(1)
	d.post(1, 0, true, "Retry-After: 30")
	d.l.Freed(3)
	d.wants(0, 30*time.Second)
	d.after(30 * time.Second)
	d.wants(3, 0)
}

// H3: a doubt holds its slot until it is freed, and wedges nothing.
func TestLimiterH3(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 2})
	d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
	d.after(tau)
	d.wants(1, 0)
	d.l.Take(1)
	d.l.Observe(ratelimiter.Outcome{Began: d.now, Done: d.now.Add(tau), Sent: 1, Doubt: 1})
	d.after(tau)
	d.wants(0, tau)
	d.after(tau)
	d.wants(1, 0)
	d.l.Take(1)
	d.l.Observe(ratelimiter.Outcome{Began: d.now, Done: d.now, Sent: 1, Doubt: 1})
	d.after(time.Minute)
	d.wants(0, 0)
	d.l.Freed(1)
	d.wants(1, 0)
}

// A status that sees nothing free puts the next probe off.
func TestLimiterStatusPutsProbeOff(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(20, 10, true)
	d.after(3 * time.Second)
	d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
	d.wants(0, tau)
}

// Headers that always say 0, on requests that ask for nothing, may mean
// something else: they cannot stop the probes.
func TestLimiterZeroForEver(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	probes := 0
	for range 300 {
		d.answer(0, 0, false, "X-RateLimit-Remaining: 0")
		if n, _ := d.l.Permit(d.now); n > 0 {
			probes++
			d.post(1, 1, false, "X-RateLimit-Remaining: 0")
			d.l.Freed(1)
			d.answer(0, 0, false, "X-RateLimit-Remaining: 0")
		}
		d.after(time.Second)
	}
	// One in 15 s, over 300 s: at 15, 30, ... 285.
	if probes != 19 {
		t.Errorf("probes in 300 s: got %d, want 19", probes)
	}
}
