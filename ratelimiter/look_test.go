package ratelimiter_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// counts are headers that count conversations for sure.
func counts(limit, remaining int) []string {
	return []string{"X-Concurrency-Limit: " + strconv.Itoa(limit), "X-Concurrency-Remaining: " + strconv.Itoa(remaining)}
}

// wantsLook checks whether a look is due now; next is counted from now, 0 for none.
func (d *desk) wantsLook(due bool, next time.Duration) {
	d.t.Helper()
	got, at := d.l.Look(d.now)
	var in time.Duration
	if !at.IsZero() {
		in = at.Sub(d.now)
	}
	if got != due || in != next {
		d.t.Errorf("look at %v: got %v, next in %v, want %v, %v", d.now.Sub(noon), got, in, due, next)
	}
}

// wantsGone checks how many of those held are known to be over.
func (d *desk) wantsGone(gone int) {
	d.t.Helper()
	if s := d.l.State(); s.Gone != gone {
		d.t.Errorf("gone at %v: got %d of %d held, want %d", d.now.Sub(noon), s.Gone, s.Held, gone)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.wantsLook(false, 0) // slots are free
	d.post(20, 20, false, counts(20, 0)...)
	d.wants(0, 0)
	d.wantsLook(false, tau)
	d.after(tau)
	d.wantsLook(true, 0)
	d.wantsLook(false, tau) // that one is under way
	d.answer(0, 0, false, counts(20, 3)...)
	d.wantsGone(3)
	d.wants(3, 0)
	d.wantsKnown(3)
	d.wantsLook(false, 0)
	d.l.Take(3)
	d.wantsLook(false, 0) // the answer tells
	d.answer(3, 3, false, counts(20, 0)...)
	d.wants(0, 0)
	d.wantsLook(false, tau)
	d.answer(0, 0, false, "Retry-After: 60")
	d.wantsLook(false, time.Minute)
}

// Headers that do not count what their own answer created lag behind. By how much
// is measured at once, and is not forgotten while they do; what shows so much later
// is made up for by looking up to twice as often.
func TestLookAtHeadersThatLag(t *testing.T) {
	t.Parallel()
	const step = 500 * time.Millisecond
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.post(20, 20, false, counts(20, 20)...)
	for range 4 {
		d.wants(0, 0)
		d.wantsLook(false, step)
		d.after(step)
		d.wantsLook(true, 0)
		d.answer(0, 0, false, counts(20, 20)...)
	}
	d.after(step)
	d.wantsLook(true, 0)
	d.answer(0, 0, false, counts(20, 0)...) // 2.5 s after
	d.wantsLook(false, tau/2)
	for range 1000 {
		d.after(tau / 2)
		d.wantsLook(true, 0)
		d.answer(0, 0, false, counts(20, 0)...)
	}
	d.after(tau / 2)
	d.wantsLook(true, 0)
	d.answer(0, 0, false, counts(20, 1)...)
	d.post(1, 1, false, counts(20, 1)...)
	d.after(2400 * time.Millisecond)
	d.wantsLook(true, 0)
	d.answer(0, 0, false, counts(20, 1)...)
	d.wants(0, 0)  // it may be the one that was filled
	for range 10 { // they do not lag any more
		d.after(tau)
		d.answer(0, 0, false, counts(20, 1)...)
		d.post(1, 1, false, counts(20, 0)...)
	}
	d.wantsLook(false, tau)
}

// Headers that never count what was created are not asked over and over.
func TestLookAtHeadersThatNeverCount(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.post(20, 20, false, counts(20, 20)...)
	looks := 0
	for range 600 {
		d.after(100 * time.Millisecond)
		if due, _ := d.l.Look(d.now); due {
			looks++
			d.answer(0, 0, false, counts(20, 20)...)
		}
	}
	if looks > 30+25 { // a fifth of the mean call each half second, then as usual
		t.Errorf("looks in a minute: got %d, want at most 55", looks)
	}
}

// A status that tells nothing is not asked for again and again, and probes go on
// as far as the own books allow.
func TestLookThatTellsNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.post(20, 20, false, counts(20, 0)...)
	for range 3 {
		d.after(tau)
		d.wantsLook(true, 0)
	}
	d.after(time.Hour)
	d.wantsLook(false, 0)
	if d.l.Sees() {
		t.Error("got that it sees free slots, want that it does not")
	}
	d.answer(0, 0, false, counts(20, 0)...) // another status told
	d.after(tau)
	d.wantsLook(true, 0)
	if !d.l.Sees() {
		t.Error("got that it does not see free slots, want that it does")
	}
}

// Where others hold slots, ProbeGet looks and ProbeAuto asks.
func TestLookBesideOthers(t *testing.T) {
	t.Parallel()
	for probe, asks := range map[ratelimiter.Probing]int{ratelimiter.ProbeAuto: 1, ratelimiter.ProbeGet: 0} {
		d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true, Probe: probe})
		d.post(5, 5, false, counts(20, 0)...)
		d.after(tau)
		if got, _ := d.l.Permit(d.now); got != asks {
			t.Errorf("probe %d: got %d permitted, want %d", probe, got, asks)
		}
		if got, _ := d.l.Look(d.now); got != (asks == 0) {
			t.Errorf("probe %d: got look %v, want %v", probe, got, asks == 0)
		}
		d.after(tau)
		d.wants(1, 0) // that look told nothing
	}
}

// Where ends are told, looks are a net.
func TestLookWhereEndsAreTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.post(20, 20, false, counts(20, 0)...)
	for range 20 {
		d.l.Freed(1)
		d.post(1, 1, false, counts(20, 0)...)
	}
	d.wantsLook(false, 15*time.Second)
}

// H14: a family that may be anything proves nothing, however well its limit fits.
func TestH14OnlyAKnownUnitShowsEnds(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		{"X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 20"},
		{"X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 20", "X-Concurrency-Reset: 5"},
		{"X-Concurrency-Remaining: 20"},
	} {
		d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
		d.post(20, 20, false, counts(20, 0)...)
		d.after(time.Hour)
		d.answer(0, 0, false, lines...)
		d.wantsGone(0)
		d.wants(0, 0)
	}
}

// Headers are believed only after one has counted what its own answer created.
func TestHeadersMustCountWhatIsCreated(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.l.Occupy(20)
	d.after(time.Hour)
	d.answer(0, 0, false, counts(20, 20)...) // not proven: it may count something else
	d.wantsGone(0)
	d.l.Freed(5)
	d.post(5, 5, false, counts(20, 20)...) // it does not count these
	d.after(time.Hour)
	d.answer(0, 0, false, counts(20, 20)...)
	d.wantsGone(0)
	d.l.Freed(1)
	d.post(1, 1, false, counts(20, 16)...)
	d.after(time.Hour)
	d.answer(0, 0, false, counts(20, 16)...)
	d.wantsGone(16)
}

// Headers that were made before the answer's own conversations do not count them,
// and nothing shows that at first.
func TestHeadersFromBeforeTheCreation(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.post(10, 10, false, counts(30, 18)...)
	d.after(time.Minute + 1)
	// Of ten others, all are over: none is used but our ten. Five more are created.
	d.post(5, 5, false, counts(30, 20)...)
	d.wantsGone(0)
}

// What may be created yet, or may not be counted yet, is not taken for over.
func TestGoneLeavesOutWhatIsNew(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.post(10, 10, false, counts(20, 10)...)
	d.l.Take(5)
	d.l.Observe(ratelimiter.Outcome{Began: d.now, Done: d.now, Sent: 5, Doubt: 5})
	d.l.Permit(d.now)
	d.l.Take(1) // under way
	d.after(30 * time.Second)
	d.answer(0, 0, false, counts(20, 20)...)
	d.wantsGone(10) // the ten; not the doubts, nor what is under way
	d.after(31 * time.Second)
	d.answer(0, 0, false, counts(20, 20)...)
	d.wantsGone(15)
}

// An end that is told may be one that was seen: then its slot was open already.
func TestFreedAfterGone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.post(20, 20, false, counts(20, 0)...)
	d.after(time.Minute)
	d.answer(0, 0, false, counts(20, 2)...)
	d.post(2, 2, false, counts(20, 0)...)
	d.wants(0, 0)
	d.l.Freed(2)
	d.wantsGone(0)
	d.wants(0, 0)
	d.l.Freed(1)
	d.wants(1, 0)
}

// A refusal that what was created lately explains teaches how far headers lag, and
// they are read with that in mind.
func TestLagIsLearned(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true})
	d.post(18, 18, false, counts(20, 2)...)
	d.after(2 * time.Second)
	d.post(2, 2, false, counts(20, 0)...)
	d.l.Freed(2)
	d.after(time.Second)
	d.post(2, 0, true, counts(20, 2)...) // it does not count the two of a second ago
	if got := d.l.State().Why; got != "full" {
		t.Errorf("why: got %q, want full: the lag explains it", got)
	}
	d.after(2 * tau)
	d.wants(1, 0) // within the own books: a probe
	d.post(1, 1, false, counts(20, 1)...)
	d.wants(0, tau) // that one is its own, not counted yet
	d.after(2 * time.Second)
	d.answer(0, 0, false, counts(20, 1)...)
	d.wants(1, 0)
}

func TestLearnMovesTheInterval(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.l.Learn(150 * time.Second)
	d.l.Learn(0) // nothing is known
	d.post(20, 15, false, "X-Concurrency-Remaining: 0")
	d.wants(0, 2*tau)
}

// Many slots make probes cheap, where they tell how many are free.
func TestIntervalOfManySlots(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 50, Looks: true})
	d.post(50, 50, false, counts(50, 0)...)
	d.wantsLook(false, 1500*time.Millisecond)
	d.l.Freed(1)
	d.answer(0, 0, false, "X-RateLimit-Limit: 50", "X-RateLimit-Remaining: 0") // these may be anything
	d.wants(0, tau)
}
