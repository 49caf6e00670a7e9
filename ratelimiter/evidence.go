package ratelimiter

import (
	"slices"
	"time"
)

// tells is what is known of headers that count conversations for sure, and tell
// both limit and remaining.
type tells struct {
	ok     bool // the latest reading was such a one
	proven bool // the latest answer that created something counted that
	own    bool // an answer counts what it created itself
	limit  int
	lag    time.Duration // what was created so shortly before is not counted yet
	looked time.Time     // the latest Look
	misses int           // looks since then of which nothing was told
	debt   int           // answers that must count what was created shortly before, after one that did not
	left   int           // what remained by the latest reading
	unseen birth         // what an answer created and did not count, until a status does; n 0: nothing
	late   share         // of the answers that created something, those that did not count it
}

// longDebt is how many answers in a row must count the conversations of shortly
// before, until headers are believed again that once did not: they may count
// requests, and see as many by chance.
const longDebt = 12

// birth is conversations that were created, or may have been.
type birth struct {
	at    time.Time // when that was known
	n     int
	doubt bool
}

// doubtAge is how long after its request a doubt may still become a
// conversation, and a slot that was taken over too.
const doubtAge = time.Minute

// birth notes what an answer created.
func (l *Limiter) birth(o Outcome) {
	if o.Created > 0 {
		l.born(birth{at: o.Done, n: o.Created})
	}
	if o.Doubt > 0 {
		l.born(birth{at: o.Done, n: o.Doubt, doubt: true})
	}
}

// date gives a time to what was entered before there was any.
func (l *Limiter) date(now time.Time) {
	for i := range l.young {
		l.young[i].at = now
	}
}

// born keeps a birth as long as it may matter.
func (l *Limiter) born(b birth) {
	old := 0
	for old < len(l.young) && l.now.Sub(l.young[old].at) > doubtAge {
		old++
	}
	l.young = l.young[old:]
	if last := len(l.young) - 1; last >= maxYoung && l.young[last].doubt == b.doubt {
		l.young[last].n += b.n
		l.young[last].at = b.at
		return
	}
	l.young = append(l.young, b)
}

// maxYoung bounds the births that are kept apart.
const maxYoung = 512

// newer counts the conversations that an answer's headers may not count, for they
// were not known to exist so long before its request: they are lagging, or were
// created beside it.
func (l *Limiter) newer(o Outcome, lag time.Duration) (n int) {
	for _, b := range l.young {
		age := o.Began.Sub(b.at)
		if age <= lag || b.doubt && age <= doubtAge {
			n += b.n
		}
	}
	return n
}

// unseen counts the conversations that headers which lag do not count yet.
func (l *Limiter) unseen(o Outcome) int {
	if l.tells.lag <= 0 {
		return 0
	}
	n := 0
	for _, b := range l.young {
		if !b.doubt && o.Began.Sub(b.at) <= l.tells.lag {
			n += b.n
		}
	}
	return n
}

// note learns whether the headers tell what can be relied on. An answer whose
// headers do not even count what it created itself proves that they lag behind,
// or count something else. So does one that does not count the recent
// conversations, at least half of them, which were created shortly before it: a
// number of requests at work counts itself, and little else. By how much they lag
// is forgotten by and by once they do not; or at any rate (forget) where a request
// too many is refused, and tells it anew.
func (t *tells) note(o Outcome, mean time.Duration, recent int, forget bool) {
	r := o.Reading
	t.ok = r.UnitKnown && r.Limit >= 0 && r.Remaining >= 0
	t.limit, t.left = r.Limit, r.Remaining
	if !t.ok {
		return
	}
	if forget || t.late < 0.5 {
		if t.lag = time.Duration(float64(t.lag) * 0.998); t.lag < mean/10_000 {
			t.lag = 0
		}
	}
	used := r.Limit - r.Remaining
	if o.Sent == 0 {
		t.misses = 0
		t.measure(o, used, mean)
		if 2*used < recent { // a status may be answered from another place, that lags
			t.debt, t.proven = longDebt, false
		}
	}
	if o.Created > 0 {
		switch {
		case recent > 0 && 2*(used-o.Created) < recent:
			t.debt = longDebt
		case recent > 0 && used >= o.Created+recent:
			t.debt = max(0, t.debt-1)
		}
		t.proven = used >= o.Created && t.debt == 0
		if used < o.Created {
			t.own = false
			t.late = 1
			if t.lag == 0 || 4*used <= o.Created { // else it is known, and shows again
				t.lag = min(max(2*t.lag, mean/15), mean/5)
			}
			if 4*used <= o.Created {
				t.unseen = birth{at: o.Began, n: o.Created}
			}
		} else if o.Created == o.Sent && r.Remaining < o.Created {
			t.own = true // before, there was room for all of them
		}
	}
}

// lateness learns whether an answer counts what its own request created: if so,
// less remains than by the reading just before it.
func (t *tells) lateness(o Outcome) {
	if o.Created > 0 && o.Created == o.Sent && o.Reading.Remaining >= 0 {
		t.late.say(o.Reading.Remaining > t.left-o.Created)
	}
}

// measure learns how far the headers lag behind from the first status that counts
// what the answer which created it did not. They may never.
func (t *tells) measure(o Outcome, used int, mean time.Duration) {
	age := o.Done.Sub(t.unseen.at)
	switch {
	case t.unseen.n == 0:
		return
	case 2*used >= t.unseen.n:
		t.lag = min(t.lag, age)
	case age <= mean/5:
		return
	}
	t.unseen = birth{}
}

// recent counts the conversations that were created shortly before a request, and
// long enough before to be counted by headers that lag: hardly any of them is over.
func (l *Limiter) recent(o Outcome) (n int) {
	for _, b := range l.young {
		age := o.Began.Sub(b.at)
		if !b.doubt && age > l.tells.lag && age <= l.tells.lag+l.mean/5 {
			n += b.n
		}
	}
	return n
}

// behind learns how far headers lag behind, from a refusal of what they say there
// is room for: so far that what was created lately and is not counted yet explains
// it. It reports whether that does.
func (l *Limiter) behind(o Outcome) bool {
	need := o.Reading.Remaining
	if o.Created == 0 {
		need -= o.Sent - 1
	}
	for _, b := range slices.Backward(l.young) {
		age := o.Began.Sub(b.at)
		if b.doubt || age > l.mean/5 {
			continue
		}
		if need -= b.n; need <= 0 {
			l.tells.lag = max(l.tells.lag, age)
			return true
		}
	}
	return false
}

// witness learns from headers how many of the own conversations are over, though
// not which: all users of the account together have no more than Limit -
// Remaining. What the headers may not have counted yet is left out, so that of
// those held and not gone never fewer are counted than there are.
func (l *Limiter) witness(o Outcome) {
	if !l.tells.ok || !l.tells.proven {
		return
	}
	used := max(0, o.Reading.Limit-o.Reading.Remaining)
	rest := max(0, o.Sent-o.Created-o.Doubt)
	newer := l.newer(o, max(l.tells.lag, l.tau()/2))
	if l.tells.own && l.tells.lag == 0 {
		newer -= o.Created
	}
	sure := l.held - rest - l.pending - newer
	if gone := min(sure-used, l.held); gone > l.gone {
		l.gone = gone
		l.told.say(false)
	}
}

// share is a part of what happened, the last dozen or so counting most.
type share float64

// say enters one more.
func (s *share) say(yes bool) {
	*s -= *s / 12
	if yes {
		*s += 1.0 / 12
	}
}

// most reports whether nearly all of it was so. What is so always gets there
// after 14 times: 1 - (11/12)^14 = 0.704.
func (s share) most() bool { return s > 0.7 }
