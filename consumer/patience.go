package consumer

import (
	"slices"
	"time"
)

// A call is asked for the first time after a fifth of the mean call, and then
// every eighth of it, between 50 ms and 15 s: at the default of 75 s that is
// after 15 s and every 9.4 s. Calls that were seen to end change that in two ways.
//
// Their lengths tell which calls most likely have ended: a look comes when a
// seventh of those calls that got as old had ended by, at most twice as late and
// four times as soon as without. Against calls as real ones are (half of them ring
// out after 25 s, the others last a minute or some) that takes 6.1 looks a call
// instead of 7.8, and a slot stands idle for as long, 4.6 s.
//
// And where webhooks told of the ends in time, looks are the safety net. If a share
// h of the newest ends was heard, they come 1/(1-h³) times as seldom: then the few
// calls whose webhook is lost keep their slots idle for no longer, all in all, than
// looks alone would (TestLooksPerCall has the figures). At most twice the mean call
// lies between two looks. A lane whose webhooks stop is asked for as before after
// some ends.
//
// Where its slot is seen to come free without that (see glance), a call is asked
// for because its end is to be told: after a mean call, and then every half of it,
// at most 2 minutes. Where webhooks tell of the ends, that is as much more seldom,
// at most 10 minutes: so late the outcome of a call may be whose webhook is lost.
//
// A call that holds no slot, or outlived MaxCall, is asked for 20 times less
// often.
func (a *account) firstLook() time.Duration { return clamp(a.mean() / 5) }
func (a *account) nextPolls() time.Duration { return clamp(a.mean() / 8) }

func clamp(d time.Duration) time.Duration { return min(max(d, 50*time.Millisecond), 15*time.Second) }

// next sets when a slot is asked for again. The caller holds mu.
func (s *slot) next(now time.Time) {
	s.asked = now
	wait := s.pool.a.nextPolls()
	switch {
	case s.doubt || s.early:
	case s.held:
		wait = s.patience(now, wait, s.pool.a.mean()/2)
	default:
		wait *= 20
	}
	s.poll = now.Add(wait)
	s.sort()
}

// leisure is the longest that a call whose slot is seen to come free is not asked
// for because of that.
const leisure = 2 * time.Minute

// lull is the same where webhooks tell of the ends.
const lull = 10 * time.Minute

// patience is for how long a call that lives now is not asked for, given how long
// that would be if nothing were known of other calls, and how long at least if its
// slot is seen to come free. The caller holds mu.
func (s *slot) patience(now time.Time, wait, seen time.Duration) time.Duration {
	a := s.pool.a
	heard := min(s.ln.heard, mostHeard)
	seldom := 1 / (1 - heard*heard*heard)
	if s.pool.limiter.Sees() {
		return min(time.Duration(float64(min(seen, leisure))*seldom), lull)
	}
	if s.pool.counted {
		wait = a.likely(now.Sub(s.since), wait)
	}
	return min(time.Duration(float64(wait)*seldom), 2*a.mean())
}

const (
	// mostLengths of the newest calls are remembered; fewest of them that lasted
	// longer than a call has by now tell something about it.
	mostLengths = 64
	fewest      = 4
	// heardMemory is how many ends the share of those that were heard is of, and
	// mostHeard the share beyond which looks come no more seldom.
	heardMemory = 16
	mostHeard   = 31.0 / 32
)

// likely is when a seventh of the calls that got as old as age had ended. The
// caller holds mu.
func (a *account) likely(age, wait time.Duration) time.Duration {
	i, _ := slices.BinarySearch(a.ranked, age+1)
	longer := a.ranked[i:]
	if len(longer) < fewest {
		return wait
	}
	return min(max(longer[len(longer)/7]-age, wait/4), 2*wait)
}

// ended learns from a call that was seen to end: how long it lasted, and whether a
// webhook told. The caller holds mu.
func (s *slot) ended(conv Conversation) {
	heard := 0.0
	s.ln.silent++
	if !s.rung.IsZero() {
		heard, s.ln.silent = 1, 0
		s.ln.trusted = true
		s.ln.count(func(c *HookCounts) { c.Confirmed++ })
	}
	s.ln.heard += (heard - s.ln.heard) / heardMemory
	if s.pool.counted {
		s.pool.a.measured(conv)
	}
}

// The mean call is what the configuration says, as if ten calls had shown it,
// and what the calls themselves show; the newest 60 count most (PACING: m0, n).
const (
	meanPrior  = 10
	meanMemory = 60
)

// mean is how long a call lasts, as far as is known. The caller holds mu.
func (a *account) mean() time.Duration {
	return (meanPrior*a.cfg.MeanCall + time.Duration(a.seen*float64(a.shown))) / time.Duration(meanPrior+a.seen)
}

// measured learns from the length of one call. The caller holds mu.
func (a *account) measured(c Conversation) {
	length := c.EndedAt.Sub(c.StartedAt)
	if c.StartedAt.IsZero() || c.EndedAt.IsZero() {
		length = c.Duration
	}
	if length <= 0 || length > a.cfg.MaxCall {
		return
	}
	a.seen = min(a.seen+1, meanMemory)
	a.shown += time.Duration(float64(length-a.shown) / a.seen)
	if len(a.lengths) == mostLengths {
		i, _ := slices.BinarySearch(a.ranked, a.lengths[0])
		a.ranked = slices.Delete(a.ranked, i, i+1)
		a.lengths = a.lengths[1:]
	}
	a.lengths = append(a.lengths, length)
	i, _ := slices.BinarySearch(a.ranked, length)
	a.ranked = slices.Insert(a.ranked, i, length)
}
