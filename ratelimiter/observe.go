package ratelimiter

import "time"

// Outcome is what became of one request to the provider.
type Outcome struct {
	// Began is before the first byte was sent, Done when the answer was complete
	// or given up.
	Began, Done time.Time
	// Sent is how many conversations the request asked for: 0 if it asked for
	// none (a status) or nothing was sent. Created is how many of them were
	// created, Doubt how many may have been: those stay held until Freed. The
	// others are to be returned.
	Sent, Created, Doubt int
	// Full reports that at least one was refused for want of a slot. It says
	// nothing if none was asked for.
	Full bool
	// Reading is what the answer's headers said.
	Reading Reading
}

// Refusal says whether an answer refused something for want of a slot, and whether
// the books or the headers explain that.
type Refusal int

// The kinds of a Refusal.
const (
	NotRefused  Refusal = iota
	Explained           // known conversations, or the headers, say the same
	Unexplained         // slots should be free: somebody else, a rate or a quota has them
)

// String returns the kind's name in logs and metrics.
func (r Refusal) String() string {
	switch r {
	case NotRefused:
		return "none"
	case Explained:
		return "full"
	case Unexplained:
		return "unexplained"
	default:
		return "unknown"
	}
}

// Observe learns from one answer. Headers count if their request began after
// that of the latest ones that did; how an answer treats its own items always
// counts.
func (l *Limiter) Observe(o Outcome) (refusal Refusal) {
	l.see(o.Done)
	l.delay(o)
	probe := l.answered(o)
	l.birth(o)
	fresh := l.read(o)
	if o.Sent <= 0 {
		return NotRefused
	}
	l.accepted(o)
	if o.Created > 0 {
		l.refusing, l.pauses = false, 0
	}
	anew := fresh || probe // free allows for the items that were not created
	switch {
	case o.Full:
		free, explained := l.refused(o, fresh)
		anew = free || anew
		if refusal = Explained; !explained {
			refusal = Unexplained
		}
	case probe && !fresh:
		l.probeEnded(o)
	case l.cfg.Probe == ProbePost && o.Began.Add(l.tau()).After(l.probeAt):
		l.probeAt = o.Began.Add(l.tau()) // should this have filled the books
	}
	rest := max(0, o.Sent-o.Created-o.Doubt)
	if !anew {
		l.pending += rest // as if they had not been sent
		return refusal
	}
	l.settled += rest
	l.settle = o.Done
	return refusal
}

// answered takes the request's items out of what is pending and reports whether
// they were a probe.
func (l *Limiter) answered(o Outcome) (probe bool) {
	if o.Sent <= 0 {
		return false
	}
	l.pending = max(0, l.pending-o.Sent)
	if l.probing == 0 || o.Began.Before(l.probed) {
		l.probing = min(l.probing, l.pending) // should the times be wrong
		return false
	}
	l.probing = max(0, l.probing-o.Sent)
	return true
}

// delay keeps every request back that a Retry-After or an exhausted rate forbids.
// A Retry-After with a conversation that was just created is about asking for
// that one again.
func (l *Limiter) delay(o Outcome) {
	r := o.Reading
	done := o.Sent > 0 && o.Created == o.Sent && !o.Full
	if until := o.Done.Add(r.RetryAfter); r.RetryAfter > 0 && !done && until.After(l.retryUntil) {
		l.retryUntil = until
	}
	rate := !r.Concurrency && r.Remaining >= 0
	if o.Began.Before(l.rated) || !rate && !r.exhausted() {
		return
	}
	l.rated = o.Began
	l.rateUntil = time.Time{}
	if r.exhausted() {
		l.rateUntil = o.Done.Add(r.Reset)
	}
}

// read applies a reading that counts conversations, and reports whether it told
// how many remain.
func (l *Limiter) read(o Outcome) bool {
	r := o.Reading
	if !r.Concurrency || o.Began.Before(l.counted) {
		return false
	}
	if l.tells.ok && o.Began.Sub(l.counted) < l.tau()/2 {
		l.tells.lateness(o)
	}
	l.counted = o.Began
	l.tells.note(o, l.mean, l.recent(o), l.cfg.Probe == ProbePost)
	if l.tells.debt > 0 {
		l.gone = 0 // what they showed of ends is not known any more
	}
	if r.Limit >= 0 {
		l.restrict(r)
	}
	if r.Remaining < 0 {
		return false
	}
	if o.Began.Before(l.doubtful) { // the next probe is set already
		l.free = 0
		return true
	}
	remaining := r.Remaining - l.unseen(o)
	if contradicts(o) {
		remaining = 0
	} else {
		l.witness(o)
	}
	before := l.free
	l.free = max(0, remaining-l.pending)
	switch {
	case l.free == 0:
		l.dried(o, before)
	case !o.Full:
		l.refusing = false
	}
	return true
}

// restrict puts a header's limit in force. At least one slot above the reserve
// stays: without any request nobody would learn that the limit rose again.
func (l *Limiter) restrict(r Reading) {
	ceiling := l.cfg.Limit
	if r.UnitKnown {
		ceiling = max(ceiling, l.cfg.LimitMax)
	}
	l.limit = max(l.cfg.Reserve+1, min(r.Limit, ceiling))
}

// contradicts reports whether an answer refuses what its own headers say there
// is room for: they lag behind, and nothing remains.
func contradicts(o Outcome) bool {
	r := o.Reading
	room := r.Concurrency && !r.exhausted() && r.Remaining > 0
	return room && o.Full && o.Sent > 0 && (o.Created > 0 || r.Remaining >= o.Sent)
}

// dried puts off the next probe, because headers said just now that it would
// find nothing. Headers that say so for ever, of requests that ask for nothing,
// cannot put it off by more than MaxPause: they may mean something else.
func (l *Limiter) dried(o Outcome, before int) {
	if o.Sent > 0 || before != 0 {
		l.dry = o.Done
		l.why = "full"
	}
	l.probeAt = o.Began.Add(l.tau())
	if last := l.dry.Add(max(l.tau(), l.cfg.MaxPause)); last.Before(l.probeAt) {
		l.probeAt = last
	}
}

// refused learns from an answer that says full. It is explained if part of the
// request was created, if the own books show no further slot, or if the headers
// agree. Then the next probe goes out after the usual interval. Otherwise it may
// be a neighbour, a rate or a quota, and each further one makes the pause longer.
// It reports whether it set free, and whether the answer is explained.
func (l *Limiter) refused(o Outcome, fresh bool) (free, explained bool) {
	l.refusing = true
	l.streak, l.stride = 0, 1
	l.hushed = o.Reading.RetryAfter > l.tau()*3/2
	l.lone = l.lone || o.Sent == 1
	l.parted(o, fresh)
	if o.Reading.exhausted() && l.free != 0 {
		return false, true // the rate refused it, and delays it
	}
	if fresh && l.free > 0 {
		return false, true // too much at once: the headers say what fits
	}
	l.free = 0
	l.dry = o.Done
	lags := fresh && contradicts(o) && l.behind(o)
	explained = o.Created > 0 || l.own() <= 0 || o.Reading.exhausted() || fresh && (lags || !contradicts(o))
	if explained {
		l.why = "full"
		l.probeAt = o.Began.Add(l.tau())
	} else {
		l.why = "unexplained 429"
		l.probeAt = o.Done.Add(l.pause())
	}
	if l.cfg.Probe == ProbePost && !fresh && !l.parts.made && o.Created == 0 && o.Sent > 1 {
		l.stride = o.Sent / 2 // less of it may fit
		l.probeAt = o.Done
		return true, explained
	}
	if !explained || contradicts(o) {
		l.doubtful = l.probeAt
	}
	return true, explained
}
