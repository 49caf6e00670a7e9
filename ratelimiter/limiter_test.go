package ratelimiter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/ratelimiter"
)

// tau is the probe interval of the default configuration: 2 * 0.025 * 75 s.
const tau = 3750 * time.Millisecond

// desk drives a Limiter as an engine would, at a time that it sets.
type desk struct {
	t   *testing.T
	l   *ratelimiter.Limiter
	now time.Time
}

// newDesk returns a desk whose pauses are not shortened by chance.
func newDesk(t *testing.T, cfg ratelimiter.Config) *desk {
	t.Helper()
	cfg.Rand = func() float64 { return 1 }
	return &desk{t: t, l: ratelimiter.New(cfg), now: noon}
}

// wants checks what is permitted now; next is counted from now, 0 for none.
func (d *desk) wants(n int, next time.Duration) {
	d.t.Helper()
	got, at := d.l.Permit(d.now)
	var in time.Duration
	if !at.IsZero() {
		in = at.Sub(d.now)
	}
	if got != n || in != next {
		d.t.Errorf("at %v: got %d permitted, next in %v, want %d, %v", d.now.Sub(noon), got, in, n, next)
	}
}

// wantsKnown checks what is known to be free.
func (d *desk) wantsKnown(n int) {
	d.t.Helper()
	if got := d.l.Known(); got != n {
		d.t.Errorf("at %v: got %d known, want %d", d.now.Sub(noon), got, n)
	}
}

// after lets time pass.
func (d *desk) after(by time.Duration) { d.now = d.now.Add(by) }

// answer observes a request of n items that was sent and answered now, and
// returns what was not created.
func (d *desk) answer(sent, created int, full bool, lines ...string) ratelimiter.Refusal {
	d.t.Helper()
	refusal := d.l.Observe(ratelimiter.Outcome{
		Began: d.now, Done: d.now, Sent: sent, Created: created, Full: full,
		Reading: ratelimiter.Parse(headers(lines...), ratelimiter.Names{}, d.now),
	})
	d.l.Return(sent - created)
	return refusal
}

// post takes, sends and has answered a request of n items.
func (d *desk) post(n, created int, full bool, lines ...string) {
	d.t.Helper()
	d.l.Permit(d.now)
	d.l.Take(n)
	d.answer(n, created, full, lines...)
}

// What refused is told, and whether anything explains it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sent, created int
		full          bool
		lines         []string
		want          string
	}{
		"all created":             {2, 2, false, nil, "none"},
		"some created":            {4, 2, true, nil, "full"},
		"the headers say full":    {2, 0, true, []string{"X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 0"}, "full"},
		"too much at once":        {3, 0, true, []string{"X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 2"}, "full"},
		"a rate":                  {1, 0, true, []string{"RateLimit-Policy: 10;w=60", "RateLimit-Limit: 10", "RateLimit-Remaining: 0", "RateLimit-Reset: 30"}, "full"},
		"nothing explains it":     {1, 0, true, nil, "unexplained"},
		"none was asked for":      {0, 0, true, nil, "none"},
		"rejected, and not full":  {1, 0, false, nil, "none"},
		"the books have no slots": {20, 0, true, nil, "full"},
	} {
		d := newDesk(t, ratelimiter.Config{Limit: 20})
		d.l.Permit(d.now)
		d.l.Take(tc.sent)
		if got := d.answer(tc.sent, tc.created, tc.full, tc.lines...).String(); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
	if got := ratelimiter.Refusal(9).String(); got != "unknown" {
		t.Errorf("a kind that does not exist: got %s", got)
	}
}

func TestLimiterOwnBooks(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Reserve: 2})
	d.wants(18, 0)
	d.wantsKnown(18)
	d.l.Take(18)
	d.wants(0, 0)
	d.wantsKnown(0)
	d.l.Return(3)
	d.wants(3, 0)
	d.l.Take(3)
	d.l.Freed(1)
	d.wants(1, 0)
	d.l.Freed(100) // more than there were: the books cannot go below zero
	d.wants(18, 0)
	d.l.Take(-1)
	d.l.Return(-1)
	d.l.Freed(-1)
	d.l.Occupy(-1)
	d.wants(18, 0)
}

// H11: a new owner counts what its predecessor took.
func TestLimiterOccupy(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 5})
	d.l.Occupy(7)
	d.wants(0, 0)
	d.l.Freed(2)
	d.wants(0, 0)
	d.l.Freed(1)
	d.wants(1, 0)
}

func TestLimiterHeadersOnlyLower(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.answer(0, 0, false, "X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 999")
	d.wants(20, 0)
	d.answer(0, 0, false, "X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 5")
	d.wants(5, 0)
	d.wantsKnown(5)
	d.l.Take(2)
	d.wants(3, 0)
	d.l.Return(1) // never sent
	d.wants(4, 0)
	d.l.Freed(1)
	d.wants(5, 0)
	d.answer(0, 0, false, "X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 20")
	d.wants(20, 0)
}

func TestLimiterReservationsCountAgainstHeaders(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.l.Permit(d.now)
	d.l.Take(6)
	// Four of the six are created, and 9 remain; the two in hand need theirs.
	d.l.Observe(ratelimiter.Outcome{
		Began: d.now, Done: d.now, Sent: 4, Created: 4,
		Reading: ratelimiter.Parse(headers("X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 9"), ratelimiter.Names{}, d.now),
	})
	d.wants(7, 0)
	d.l.Return(2)
	d.wants(9, 0)
}

func TestLimiterOlderAnswerDoesNotOverrule(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	late := func(began time.Duration, remaining string) {
		d.l.Observe(ratelimiter.Outcome{
			Began: noon.Add(began), Done: d.now,
			Reading: ratelimiter.Parse(headers("X-Concurrency-Remaining: "+remaining), ratelimiter.Names{}, d.now),
		})
	}
	d.after(time.Minute)
	late(2*time.Second, "4")
	late(time.Second, "11")
	d.wants(4, 0)
	late(3*time.Second, "11")
	d.wants(11, 0)
}

func TestLimiterLimitFallsAndReturns(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Reserve: 1})
	d.l.Occupy(4)
	for _, step := range []struct {
		limit string
		want  int
	}{{"10", 5}, {"5", 0}, {"1", 0}, {"12", 7}, {"20", 15}, {"50", 15}} {
		d.answer(0, 0, false, "X-Concurrency-Limit: "+step.limit)
		d.wants(step.want, 0)
	}
	// A limit below the reserve leaves one slot: somebody has to look.
	d.l.Freed(4)
	d.answer(0, 0, false, "X-Concurrency-Limit: 0")
	d.wants(1, 0)
}

// H14: headers raise the limit only if that is allowed, only that far, and only
// from a family whose unit is known.
func TestLimiterH14(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		limitMax int
		lines    []string
		want     int
	}{
		{"off", 0, []string{"X-Concurrency-Limit: 50"}, 20},
		{"known unit", 50, []string{"X-Concurrency-Limit: 40"}, 40},
		{"no further", 50, []string{"X-Concurrency-Limit: 1000"}, 50},
		{"named unit", 50, []string{`RateLimit-Policy: "calls";q=50;qu="concurrent-requests"`}, 50},
		{"guessed unit", 50, []string{"X-RateLimit-Limit: 50", "X-RateLimit-Remaining: 50"}, 20},
		{"rate", 50, []string{"X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 999", "X-RateLimit-Reset: 1"}, 20},
		{"small rate", 50, []string{"X-RateLimit-Limit: 5", "X-RateLimit-Remaining: 1", "X-RateLimit-Reset: 1"}, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, ratelimiter.Config{Limit: 20, LimitMax: tt.limitMax})
			d.answer(0, 0, false, tt.lines...)
			d.wants(tt.want, 0)
		})
	}
}

// Of a refused request only what is still in hand can open a slot again.
func TestLimiterReturnOfRefusedOpensNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.l.Permit(d.now)
	d.l.Take(6)
	d.answer(4, 0, true, "X-Concurrency-Remaining: 2")
	d.wants(0, tau) // those two are for what is in hand
	d.l.Return(2)
	d.wants(2, 0)
}

// After a doubt the return of a reservation is still seen as one.
func TestLimiterDoubtIsNotReturned(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.answer(0, 0, false, "X-Concurrency-Remaining: 5")
	d.l.Take(3)
	d.l.Observe(ratelimiter.Outcome{Began: d.now, Done: d.now, Sent: 1, Doubt: 1})
	d.l.Return(2)
	d.wants(4, 0)
	d.answer(0, 0, false, "X-Concurrency-Remaining: 5")
	d.wants(5, 0)
}

// A caller that does not tell its doubts confuses the books for one interval.
func TestLimiterUntoldDoubt(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.l.Permit(d.now)
	d.l.Take(3)
	d.l.Observe(ratelimiter.Outcome{
		Began: d.now, Done: d.now, Sent: 1,
		Reading: ratelimiter.Reading{Concurrency: true, Limit: -1, Remaining: 5},
	})
	d.wants(3, 0)
	d.after(tau + 1)
	d.wants(3, 0)
	d.l.Return(2)
	d.wants(5, 0)
}

func TestLimiterState(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Reserve: 2})
	check := func(want ratelimiter.State) {
		t.Helper()
		if diff := cmp.Diff(want, d.l.State()); diff != "" {
			t.Errorf("State: (-want +got)\n%s", diff)
		}
	}
	check(ratelimiter.State{Limit: 20, Free: 18})
	d.post(18, 18, false)
	check(ratelimiter.State{Limit: 20, Held: 18, Why: "slots"})
	d.l.Freed(8)
	d.post(2, 1, true)
	check(ratelimiter.State{Limit: 20, Held: 11, BlockedUntil: d.now.Add(tau), Why: "full"})
	d.after(tau)
	d.post(1, 0, true)
	check(ratelimiter.State{Limit: 20, Held: 11, BlockedUntil: d.now.Add(tau), Why: "unexplained 429"})
	d.answer(0, 0, false, "Retry-After: 60")
	check(ratelimiter.State{Limit: 20, Held: 11, BlockedUntil: d.now.Add(time.Minute), Why: "retry-after"})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := (ratelimiter.Config{Limit: 1}).Validate(); err != nil {
		t.Errorf("minimal configuration: got %v, want no error", err)
	}
	bad := ratelimiter.Config{Limit: 5, LimitMax: 4, Reserve: 5, MeanCall: -1, Epsilon: 2, MaxPause: -1}
	err := bad.Validate()
	if err == nil {
		t.Fatal("got no error, want one")
	}
	for _, want := range []string{"limit_max: ", "reserve: ", "mean_call: ", "epsilon: ", "max_pause: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to name %q", err, want)
		}
	}
	err = ratelimiter.Config{Reserve: -1}.Validate()
	for _, want := range []string{"limit: ", "reserve: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %q", err, want)
		}
	}
}

func TestNewPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("New without a limit: got no panic, want one")
		}
	}()
	ratelimiter.New(ratelimiter.Config{})
}

// A refusal is over when newer headers show a free slot, also if nothing was
// created since.
func TestKnownAfterHeadersShowRoom(t *testing.T) {
	t.Parallel()
	l := ratelimiter.New(ratelimiter.Config{Limit: 5})
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	l.Permit(now)
	l.Take(1)
	l.Observe(ratelimiter.Outcome{Began: now, Done: now.Add(time.Second), Sent: 1, Full: true, Reading: ratelimiter.Reading{Limit: -1, Remaining: -1}})
	l.Return(1)
	if got := l.Known(); got != 0 {
		t.Errorf("after a refusal: got %d known, want 0", got)
	}
	now = now.Add(time.Hour)
	l.Observe(ratelimiter.Outcome{Began: now, Done: now.Add(time.Second), Reading: ratelimiter.Reading{Concurrency: true, Limit: 5, Remaining: 5}})
	if got := l.Known(); got != 5 {
		t.Errorf("after headers that show 5 of 5 free: got %d known, want 5", got)
	}
}
