package ratelimiter

import "time"

// unknown is the estimate of free slots as long as nothing speaks against the
// own books.
const unknown = -1

// Limiter says how many conversations may be created now. It is not safe for
// concurrent use: the caller holds a lock.
//
// Each slot that is taken ends in exactly one way: it is given back by Return
// (unused, or its conversation was certainly not created), or it is kept until
// Freed. Each request is reported by one Observe, also one that got no answer;
// what has to be returned because of it is returned after that, before the next
// Permit.
type Limiter struct {
	cfg  Config
	mean time.Duration // of a conversation, as far as is known
	now  time.Time     // the latest that was seen

	limit   int // in force: above Reserve, at most the ceiling
	held    int // taken - returned - freed
	gone    int // of held: over, though it is not known which
	pending int // of held: taken, and neither answered nor returned
	settled int // of held: not created, which free allows for; their Return is due
	settle  time.Time

	// free is how many slots the provider is believed to have free, beside what
	// is pending (room looks after the limit); unknown if nothing was heard.
	// While it is 0 and the books have room, probes go out.
	free     int
	why      string    // of its being 0
	probeAt  time.Time // the next probe
	dry      time.Time // when the latest request found it 0
	doubtful time.Time // answers to what began before this cannot make it positive
	probing  int       // of pending: taken beyond free
	probed   time.Time // when the probe was permitted
	stride   int       // slots of the next probe
	streak   int       // probes in a row that were created

	refusing bool // full since anything was last created
	lone     bool // a lone request was once refused as full
	parts    parts
	hushed   bool // refusals ask for a longer silence than the interval
	pauses   int  // unexplained refusals since anything was last created

	tells   tells
	told    share   // of the ends, those that were told before they were seen
	young   []birth // what was created lately, oldest first
	passing run     // conversations that were created past the own books

	counted    time.Time // when the request of the latest concurrency reading began
	rated      time.Time // the same, of a rate
	retryUntil time.Time
	rateUntil  time.Time
}

// New returns a Limiter with all slots free. It panics if cfg is not valid.
func New(cfg Config) *Limiter {
	if err := cfg.Validate(); err != nil {
		panic("ratelimiter: " + err.Error())
	}
	cfg = cfg.withDefaults()
	return &Limiter{cfg: cfg, mean: cfg.MeanCall, limit: cfg.Limit, free: unknown, stride: 1}
}

// Permit says how many slots may be taken now. If none, next is when to ask
// again; the zero time means: not before Return, Freed or Observe. It never
// permits more than limit - reserve - held, but for one probe at a time with
// ProbePost; of held what is known to be over does not count.
func (l *Limiter) Permit(now time.Time) (n int, next time.Time) {
	l.see(now)
	n, next, _ = l.gate()
	return n, next
}

// Known returns how many slots are known to be free: for a request that is about
// to take its slots. It is 0 for a probe, and after a refusal until something was
// created again.
func (l *Limiter) Known() int {
	if l.refusing {
		return 0
	}
	return l.room()
}

// Take reserves n slots, before there is anything to fill them with.
func (l *Limiter) Take(n int) {
	if n <= 0 {
		return
	}
	l.held += n
	l.pending += n
	if l.free == unknown {
		if l.cfg.Probe != ProbePost || l.own() >= 0 {
			return
		}
		l.free = max(0, l.own()+n) // the rest is a probe past the own books
	}
	sure := min(n, l.free)
	l.free -= sure
	if n > sure {
		l.probing += n - sure
		l.probed = l.now
	}
}

// Return gives back n slots that were not used, or whose conversations were
// certainly not created.
func (l *Limiter) Return(n int) {
	n = min(n, l.held)
	if n <= 0 {
		return
	}
	l.held -= n
	l.gone = min(l.gone, l.held)
	// The answer that refused these said anew how many are free: their return
	// adds nothing to that.
	refused := min(n, l.settled)
	l.settled -= refused
	unsent := min(n-refused, l.pending)
	l.pending -= unsent
	probe := min(unsent, l.probing) // taken without knowing of a slot
	l.probing -= probe
	l.open(unsent - probe)
}

// Freed tells that n conversations ended, or can't last any longer.
func (l *Limiter) Freed(n int) {
	n = min(n, l.held)
	if n <= 0 {
		return
	}
	l.held -= n
	l.pending = min(l.pending, l.held) // an end may be known before the answer
	l.probing = min(l.probing, l.pending)
	// Of those that are known to be over it may be one: then its slot was open.
	known := min(n, l.gone)
	l.gone -= known
	l.told.say(n-known > 0)
	l.open(n - known)
}

// Occupy counts n slots as held that were taken before this Limiter existed.
// They may exceed the limit.
func (l *Limiter) Occupy(n int) {
	l.held += max(0, n)
	l.born(birth{at: l.now, n: n, doubt: true})
}

// Learn tells how long a conversation lasts on average, as far as is known by
// now.
func (l *Limiter) Learn(mean time.Duration) {
	if mean > 0 {
		l.mean = mean
	}
}

// State is a snapshot for display, as of the latest Permit or Observe.
type State struct {
	Limit        int       // in force
	Held         int       // taken and not free again, with reservations
	Gone         int       // of Held: over, though it is not known which
	Free         int       // known to be free for us, after the reserve
	BlockedUntil time.Time // zero if not blocked, or until something is freed
	// Why nothing may be taken on the own books alone: retry-after, rate, slots,
	// full, unexplained 429. Empty if something may.
	Why string
}

// State returns a snapshot.
func (l *Limiter) State() State {
	_, next, why := l.gate()
	return State{Limit: l.limit, Held: l.held, Gone: l.gone, Free: l.room(), BlockedUntil: next, Why: why}
}

// gate decides what may be taken now, when to ask again, and names the obstacle:
// of several the one that lasts longest.
func (l *Limiter) gate() (n int, next time.Time, why string) {
	own := l.own()
	past := own <= 0 && l.mayPass()
	probe := past || own > 0 && l.free == 0 // nothing else is permitted
	next, why = l.blocked()
	if at, w := l.probeDue(past); probe && l.probing == 0 && at.After(next) {
		next, why = at, w
	}
	switch {
	case next.After(l.now):
		return 0, next, why
	case own <= 0 && !past:
		return 0, time.Time{}, "slots"
	case !probe:
		return l.room(), time.Time{}, ""
	case l.probing > 0:
		return 0, time.Time{}, l.why
	case past:
		return l.stretch(l.limit), time.Time{}, l.why
	default:
		return l.stretch(own), time.Time{}, l.why
	}
}

// blocked returns until when nothing at all may be taken, and why.
func (l *Limiter) blocked() (until time.Time, why string) {
	if l.rateUntil.After(l.retryUntil) {
		return l.rateUntil, "rate"
	}
	return l.retryUntil, "retry-after"
}

// own is what the own books leave.
func (l *Limiter) own() int { return l.limit - l.cfg.Reserve - (l.held - l.gone) }

// room is what the own books leave and nothing else speaks against.
func (l *Limiter) room() int {
	own := max(0, l.own())
	if l.free == unknown {
		return own
	}
	return min(own, l.free)
}

// open adds slots that came free to what is known.
func (l *Limiter) open(n int) {
	if l.free != unknown {
		l.free += n
	}
}

// see notes the time. What was not returned soon after its answer will not be:
// it is in doubt, and no longer due.
func (l *Limiter) see(now time.Time) {
	if l.now.IsZero() {
		l.date(now)
	}
	if now.After(l.now) {
		l.now = now
	}
	if l.now.Sub(l.settle) > l.tau() {
		l.settled = 0
	}
}
