package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

func TestLimiterFullIsExplained(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		sent    int
		created int
		lines   []string
	}{
		{"part of it was created", 5, 2, nil},
		{"the books are full", 20, 0, nil},
		{"the headers agree", 5, 0, []string{"X-Concurrency-Remaining: 0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, ratelimiter.Config{Limit: 20})
			for range 5 { // however often
				d.post(tt.sent, tt.created, true, tt.lines...)
				d.l.Freed(tt.created)
				if got := d.l.State().Why; got == "unexplained 429" {
					t.Errorf("got %q, want it explained", got)
				}
				d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
				d.wants(0, tau)
				d.after(time.Minute)
			}
		})
	}
}

func TestLimiterTooMuchAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(5, 0, true, "X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 3")
	d.wants(3, 0)
	d.wantsKnown(0) // not before something is created again
	d.post(3, 3, false, "X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 4")
	d.wants(4, 0)
	d.wantsKnown(4)
}

func TestLimiterUnexplained(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, MaxPause: 12 * time.Second})
	for _, pause := range []time.Duration{tau, 2 * tau, 12 * time.Second, 12 * time.Second} {
		d.post(1, 0, true)
		d.wants(0, pause)
		if got := d.l.State().Why; got != "unexplained 429" {
			t.Errorf("why: got %q, want unexplained 429", got)
		}
		d.after(pause)
		d.wants(1, 0)
	}
	d.post(1, 1, false)
	d.wants(1, 0)
	d.post(1, 0, true)
	d.wants(0, tau) // from the beginning
}

// Headers that see room do not cut a pause short: they cannot explain it.
func TestLimiterUnexplainedOutlastsHeaders(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(1, 0, true)
	d.after(time.Second)
	d.answer(0, 0, false, "X-Concurrency-Remaining: 10")
	d.wants(0, tau-time.Second)
	d.after(tau - time.Second)
	d.answer(0, 0, false, "X-Concurrency-Remaining: 10")
	d.wants(10, 0)
}

func TestLimiterPauseIsJittered(t *testing.T) {
	t.Parallel()
	l := ratelimiter.New(ratelimiter.Config{Limit: 20, Rand: func() float64 { return 0 }})
	l.Take(1)
	l.Observe(ratelimiter.Outcome{Began: noon, Done: noon, Sent: 1, Full: true})
	l.Return(1)
	if _, next := l.Permit(noon); next.Sub(noon) != tau/2 {
		t.Errorf("next: got %v, want %v", next.Sub(noon), tau/2)
	}
}

// A refusal that contradicts its own headers shows that they lag behind.
func TestLimiterHeaderLag(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(20, 20, false, "X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 0")
	d.l.Freed(2)
	d.wants(2, 0)
	d.post(2, 0, true, "X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 2")
	d.wants(0, tau)
	d.after(time.Second)
	d.answer(0, 0, false, "X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 2")
	if n, _ := d.l.Permit(d.now); n != 0 {
		t.Errorf("got %d permitted on headers that were caught lagging, want 0", n)
	}
}

func TestLimiterHeaderLagInPart(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(5, 3, true, "X-Concurrency-Remaining: 1") // it would have gone to the fourth
	d.wants(0, tau)
}

// A refusal that headers explain, or say nothing of, leaves the next ones true.
func TestLimiterNoHeaderLag(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		{"X-Concurrency-Remaining: 0"},
		{"X-RateLimit-Remaining: 50", "X-RateLimit-Reset: 60"},
		nil,
	} {
		d := newDesk(t, ratelimiter.Config{Limit: 20})
		d.post(5, 3, true, lines...)
		d.wants(0, tau)
		d.after(time.Second)
		d.answer(0, 0, false, "X-Concurrency-Remaining: 2")
		d.wants(2, 0)
	}
}

// The 429 of a request that asked for nothing is no lack of slots.
func TestLimiterFullStatus(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.answer(0, 0, true)
	d.wants(20, 0)
	d.wantsKnown(20)
	d.answer(0, 0, true, "X-Concurrency-Remaining: 5")
	d.wants(5, 0)
}

func TestLimiterRetryAfter(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(1, 1, false, "Retry-After: 30") // ask for that conversation again then
	d.wants(19, 0)
	d.post(1, 0, true, "Retry-After: 30")
	d.wants(0, 30*time.Second)
	d.after(time.Second)
	d.answer(0, 0, false, "Retry-After: 2") // the longer one stays
	d.wants(0, 29*time.Second)
	d.after(29 * time.Second)
	d.wants(1, 0)
	d.post(1, 0, false, "Retry-After: 5") // 503, say
	d.wants(0, 5*time.Second)
}

// A rate delays and does nothing else.
func TestLimiterRate(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(5, 5, false, "X-RateLimit-Limit: 100", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 10")
	d.wants(0, 10*time.Second)
	d.l.Freed(5)
	d.wants(0, 10*time.Second)
	if got := d.l.State().Why; got != "rate" {
		t.Errorf("why: got %q, want rate", got)
	}
	d.after(5 * time.Second)
	d.answer(0, 0, false, "X-RateLimit-Limit: 100", "X-RateLimit-Remaining: 7", "X-RateLimit-Reset: 60")
	d.wants(20, 0)
	d.post(1, 0, true, "X-RateLimit-Limit: 100", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 4")
	d.wants(0, 4*time.Second)
	d.after(4 * time.Second)
	d.wants(20, 0) // the rate explains it: no slot was missing
	d.post(4, 4, false, "X-Concurrency-Remaining: 5")
	d.post(1, 0, true, "X-RateLimit-Limit: 100", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 4")
	d.after(4 * time.Second)
	d.wants(5, 0)
}

func TestLimiterOlderRateDoesNotOverrule(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.after(time.Minute)
	d.answer(0, 0, false, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 10")
	d.l.Observe(ratelimiter.Outcome{
		Began: d.now.Add(-time.Second), Done: d.now,
		Reading: ratelimiter.Reading{Limit: 100, Remaining: 1, Reset: time.Second},
	})
	d.wants(0, 10*time.Second)
}

// A rate that refuses a probe makes it neither full nor unexplained.
func TestLimiterRateRefusesProbe(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.answer(0, 0, false, "X-Concurrency-Remaining: 0")
	d.after(tau)
	d.post(1, 0, true, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1")
	d.wants(0, tau)
	if got := d.l.State().Why; got != "full" {
		t.Errorf("why: got %q, want full", got)
	}
}

// A rate beside a count of conversations: both are heard.
func TestLimiterRateBesideConversations(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(1, 0, true, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 2", "X-Concurrency-Remaining: 5")
	d.wants(0, 2*time.Second)
	d.after(2 * time.Second)
	d.wants(5, 0)
}
