package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// past is a desk whose operator vouches that the provider refuses what passes the
// limit, and whose slots are all taken.
func past(t *testing.T) *desk {
	t.Helper()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Looks: true, Probe: ratelimiter.ProbePost})
	d.post(20, 20, false)
	return d
}

func TestProbePastTheBooks(t *testing.T) {
	t.Parallel()
	d := past(t)
	d.wants(0, tau)
	d.after(tau)
	d.wants(1, 0)
	d.wantsKnown(0)
	d.l.Take(1)
	d.wants(0, 0) // one at a time
	d.answer(1, 1, false)
	d.wantsGone(1) // or it would have been refused
	d.wants(1, 0)  // there may be more
	d.post(1, 0, true)
	d.wantsGone(1)
	d.wants(0, tau)
	d.l.Freed(1) // the one that was gone
	d.wants(0, tau)
	d.l.Freed(1)
	d.wants(1, 0)
}

// What is under way may fill the books: it is awaited.
func TestProbePastWaitsForAnswers(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Probe: ratelimiter.ProbePost})
	d.l.Take(20)
	d.after(time.Hour)
	d.wants(0, 0)
}

func TestProbePastNeedsItsWord(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20})
	d.post(20, 20, false)
	d.after(time.Hour)
	d.wants(0, 0)
	if err := (ratelimiter.Config{Limit: 20, Reserve: 1, Probe: ratelimiter.ProbePost}).Validate(); err == nil {
		t.Error("a probe past the books with a reserve: got no error, want one")
	}
	if err := (ratelimiter.Config{Limit: 20, Probe: 7}).Validate(); err == nil {
		t.Error("a probe that is none: got no error, want one")
	}
}

// A provider whose headers show a higher limit does not keep this one.
func TestProbePastNotBelowTheProvidersLimit(t *testing.T) {
	t.Parallel()
	d := past(t)
	d.answer(0, 0, false, counts(50, 30)...)
	d.after(time.Hour)
	d.wants(0, 0)
}

// So many created in so short a time cannot all have taken the place of others.
func TestProbePastStopsWhereNobodyRefuses(t *testing.T) {
	t.Parallel()
	d := past(t)
	total := 0
	for range 200 {
		d.after(100 * time.Millisecond)
		n, _ := d.l.Permit(d.now)
		if n > 0 {
			d.post(1, 1, false)
			total++
		}
	}
	if total != 21 {
		t.Errorf("created past the books in 20 s: got %d, want 21", total)
	}
	if d.l.Sees() {
		t.Error("got that it sees free slots, want that it does not")
	}
	d.l.Freed(41)
	d.wants(20, 0)
}

// A refusal between shows that the limit is kept.
func TestProbePastGoesOnWhereItIsRefused(t *testing.T) {
	t.Parallel()
	d := past(t)
	for range 100 {
		d.after(tau)
		if n, _ := d.l.Permit(d.now); n == 0 {
			t.Fatalf("at %v: got nothing permitted, want a probe", d.now.Sub(noon))
		}
		d.post(1, 1, false)
		d.post(1, 0, true)
	}
}

// Where a part of what is too much is created, the provider is asked for more than
// is expected to fit; whether it is so is found out.
func TestProbeAsksForMoreWherePartsAreMade(t *testing.T) {
	t.Parallel()
	d := past(t)
	d.after(tau)
	d.wants(1, 0)
	d.post(1, 0, true) // H2: a lone one is refused in the proper form
	d.after(tau)
	d.wants(3, 0)
	d.post(3, 0, true)
	d.wants(1, 0) // would one have fitted?
	d.post(1, 0, true)
	d.after(tau)
	d.wants(1, 0) // nothing was created since: asking for more would show nothing
	d.post(1, 1, false)
	d.post(1, 0, true)
	d.after(tau)
	d.wants(3, 0)
	d.post(3, 2, true)
	d.after(tau)
	for range 20 {
		d.wants(3, 0)
		d.post(3, 0, true)
		d.wants(0, tau) // fewer would not have fitted either
		d.after(tau)
	}
}

func TestProbeAsksForOneWhereAllOrNothing(t *testing.T) {
	t.Parallel()
	t.Run("seen without headers", func(t *testing.T) {
		t.Parallel()
		d := past(t)
		d.after(tau)
		d.post(1, 0, true)
		d.after(tau)
		d.post(3, 0, true)
		d.wants(1, 0)
		d.post(1, 1, false) // it was the rest that did not fit
		d.post(1, 0, true)
		for range 10 {
			d.after(tau)
			d.wants(1, 0)
			d.post(1, 1, false)
			d.post(1, 0, true)
		}
	})
	t.Run("seen in headers", func(t *testing.T) {
		t.Parallel()
		d := past(t)
		d.after(tau)
		d.post(1, 0, true, counts(20, 0)...)
		d.after(tau)
		d.wants(3, 0)
		d.post(3, 0, true, counts(20, 1)...)
		d.after(tau)
		d.wants(1, 0)
	})
}

// A request that is too large, without headers, is halved until it fits.
func TestProbeHalvesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ratelimiter.Config{Limit: 20, Probe: ratelimiter.ProbePost})
	d.post(20, 0, true)
	d.wants(10, 0)
	d.post(10, 0, true)
	d.wants(5, 0)
	d.post(5, 5, false)
	d.wants(1, 0)
}

// While each refusal asks for a long silence, what headers tell is asked for.
func TestLongSilencesAreNotAskedFor(t *testing.T) {
	t.Parallel()
	d := past(t)
	d.after(tau)
	d.post(1, 0, true, append(counts(20, 0), "Retry-After: 30")...)
	d.after(30 * time.Second)
	d.wants(0, 0)
	d.wantsLook(true, 0)
	d.answer(0, 0, false, counts(20, 0)...)
	d.after(tau)
	d.wants(0, 0)
	d.wantsLook(true, 0)
	d.post(1, 0, true, counts(20, 0)...) // a refusal without it
	d.after(tau)
	if n, _ := d.l.Permit(d.now); n == 0 {
		t.Error("got nothing permitted, want a probe")
	}
}

// Without headers a long silence makes the doubling of probes wait longer.
func TestLongSilencesMakeProbesCareful(t *testing.T) {
	t.Parallel()
	d := past(t)
	d.after(tau)
	d.post(1, 0, true, "Retry-After: 30")
	d.after(30 * time.Second)
	d.post(3, 0, true, "Retry-After: 30") // all or nothing, as the next one shows
	d.after(30 * time.Second)
	for i := range 16 {
		d.wants(1, 0)
		d.post(1, 1, false)
		_ = i
	}
	d.wants(2, 0)
}

// Where ends are told, nothing is to be found past the books: only now and then is
// it tried, and what it finds makes it go on.
func TestProbePastWhereEndsAreTold(t *testing.T) {
	t.Parallel()
	d := past(t)
	d.after(tau)
	d.post(1, 0, true)
	for range 20 {
		d.l.Freed(1)
		d.post(1, 1, false)
	}
	if d.l.Sees() {
		t.Error("got that it sees free slots, want that it relies on being told")
	}
	d.wants(0, 8*75*time.Second)
	d.after(8 * 75 * time.Second)
	if n, _ := d.l.Permit(d.now); n == 0 {
		t.Fatal("after 8 mean calls: got nothing permitted, want a probe")
	}
	d.post(1, 1, false) // an end that was not told
	d.post(1, 0, true)
	if !d.l.Sees() {
		t.Error("got that it relies on being told, want that it sees free slots")
	}
	d.after(tau)
	if n, _ := d.l.Permit(d.now); n == 0 {
		t.Error("after an interval: got nothing permitted, want a probe")
	}
}
