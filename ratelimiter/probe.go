package ratelimiter

import (
	"cmp"
	"math"
	"time"
)

// The bounds of the interval between probes: it is at most 15 s, so that nothing
// stands still for long, and at least 250 ms, or a twentieth of the mean call, for
// simulations in scaled time.
const (
	longestTau  = 15 * time.Second
	shortestTau = 250 * time.Millisecond
)

// expect is how many free slots one probe may expect to find where more would
// be cheap to avoid: 1 for an Epsilon of 0.025 and 0.4 for 0.01. At 20 slots this
// is what Epsilon comes to: 2 * Epsilon * m probes an interval in which 20 slots
// see 40 * Epsilon ends.
func (c Config) expect() float64 { return 40 * c.Epsilon }

// tau is the time between probes while the provider is full. A probe each tau
// finds a slot idle for tau/2 on average, of a mean call m: idle share tau/2m =
// Epsilon. Where probes find out how many slots are free, many slots make them
// cheap: then it is at most as long as it takes until expect are.
func (l *Limiter) tau() time.Duration {
	mean := float64(l.mean)
	tau := 2 * l.cfg.Epsilon * mean
	if l.tells.ok || l.cfg.Probe == ProbePost {
		tau = min(tau, l.cfg.expect()*mean/float64(max(l.limit, 1)))
	}
	return min(max(time.Duration(tau), min(shortestTau, l.mean/20)), longestTau)
}

// mayPass reports whether a probe may go out although the own books are full.
// What is under way may fill them, so it is awaited.
func (l *Limiter) mayPass() bool {
	return l.cfg.Probe == ProbePost && l.pending == 0 && !l.passing.broken &&
		!l.looks() && (!l.tells.ok || l.tells.limit <= l.limit)
}

// probeDue returns when the next probe goes out at the earliest. Where a status
// tells as much, it is asked for first, and the probe follows only if that told
// nothing.
func (l *Limiter) probeDue(past bool) (time.Time, string) {
	if l.waits() {
		return l.probeAt.Add(l.tau()), l.why
	}
	at := l.probeAt
	if past && l.told.most() && !l.dry.IsZero() { // a net for those that are not
		if net := l.dry.Add(netCalls * l.mean); net.After(at) {
			at = net
		}
	}
	return at, cmp.Or(l.why, "full")
}

// netCalls is how many mean calls pass between two probes past the own books while
// all ends are told: at 20 slots that is one for 160 calls.
const netCalls = 8

// Sees reports whether a slot that comes free is noticed although its
// conversation is not asked for: because the headers of other answers tell, or
// because a probe finds it. It says nothing of ends that are told.
func (l *Limiter) Sees() bool {
	return l.looks() || l.cfg.Probe == ProbePost && !l.passing.broken && !l.told.most()
}

// maxMisses is how many looks in a row may tell nothing.
const maxMisses = 3

// looks reports whether free slots are looked for by a status.
func (l *Limiter) looks() bool {
	return l.cfg.Looks && l.tells.ok && l.tells.misses < maxMisses && (l.cfg.Probe != ProbePost || l.hushed)
}

// waits reports whether a probe is left to a look: not where the own books have
// room, for then others hold the slots, and whoever asks for one first gets it.
func (l *Limiter) waits() bool {
	return l.looks() && (l.own() <= 0 || l.cfg.Probe == ProbeGet)
}

// Look reports whether a request that asks for nothing is to be sent for the sake
// of its headers, because nothing is permitted and they are known to tell how many
// slots are free: such a request is never refused for want of a slot. If not now,
// next is when to ask again; the zero time means: not before Return, Freed or
// Observe. A look that was reported as due counts as sent; its answer is to be
// given to Observe.
func (l *Limiter) Look(now time.Time) (due bool, next time.Time) {
	l.see(now)
	if n, _, _ := l.gate(); n > 0 || l.pending > 0 || !l.waits() {
		return false, time.Time{}
	}
	at, _ := l.blocked()
	tau := l.tau()
	switch {
	case l.tells.unseen.n > 0: // by how much they lag behind is being measured
		tau = l.mean / 150
	case l.told.most(): // a net for those that are not
		tau = min(longestTau, l.mean/5)
	case l.tells.late > 0.5: // a slot shows so much later
		tau = max(tau/2, tau-2*l.tells.lag)
	}
	for _, after := range []time.Time{l.counted, l.tells.looked} {
		if t := after.Add(tau); t.After(at) {
			at = t
		}
	}
	if at.After(now) {
		return false, at
	}
	l.tells.looked = now
	l.tells.misses++
	return true, time.Time{}
}

// parts is what is known of a provider that was asked for more than fits.
type parts struct {
	known, made bool // made: it creates what fits; else all or nothing
	tries       int  // requests that were to find out, without headers, and did not
	alone       bool // the next probe is for one, to find out whether that one fitted
	stale       bool // nothing was created since the latest try
}

// maxTries of requests that find nothing out are enough.
const maxTries = 6

// stretch is how many conversations a probe asks for, at most most: one, or more
// after a streak. Where it is known that one too many is refused, and what fits is
// created, it asks for two more than it expects to fit; where the latter is not
// known, this finds out.
func (l *Limiter) stretch(most int) int {
	n := l.stride
	if l.cfg.Probe == ProbePost && l.lone && l.parts.worth() {
		n = max(n, int(math.Ceil(l.cfg.expect()))+2)
	}
	return min(n, most)
}

// worth reports whether asking for more than may fit is worth a request.
func (p parts) worth() bool {
	return p.made || !p.known && !p.alone && !p.stale && p.tries < maxTries
}

// parted learns from a refusal whether what fits is created.
func (l *Limiter) parted(o Outcome, fresh bool) {
	switch {
	case o.Created > 0:
		l.parts = parts{known: true, made: true}
	case o.Sent > 1 && fresh && o.Reading.Remaining > 0 && !contradicts(o):
		l.parts = parts{known: true}
	case o.Sent == 1:
		l.parts.alone = false
	case l.cfg.Probe == ProbePost && !l.parts.known && !fresh: // headers would say that nothing was free
		l.parts.tries++
		l.parts.alone, l.parts.stale = true, true
	}
}

// run counts conversations that were created past the own books, with no refusal
// between.
type run struct {
	since  time.Time
	n      int
	broken bool // more than can be true: nobody refuses what passes the limit
}

// accepted learns from conversations that a provider created although the own
// books were full: where it keeps the limit, as many others must be over. If so
// many are created one after the other, in a time in which few calls end, it does
// not keep it, and no probe goes past the books any more.
func (l *Limiter) accepted(o Outcome) {
	if o.Full || o.Created == 0 || o.Done.Sub(l.passing.since) > l.mean/5 {
		l.passing.since, l.passing.n = o.Done, 0
	}
	if l.cfg.Probe != ProbePost || o.Created == 0 {
		return
	}
	l.parts.stale = false
	if o.Sent == 1 && l.parts.alone { // there was room for it before, and the larger request was refused
		l.parts = parts{known: true}
	}
	most := max(l.limit, l.cfg.Limit)
	rest := max(0, o.Sent-o.Created-o.Doubt)
	over := l.held - rest - l.pending - l.gone - most
	if over <= 0 || l.passing.broken {
		return
	}
	l.gone += over
	l.told = 0 // some ends are not told
	if l.passing.n += over; l.passing.n > most {
		l.passing.broken = true
	}
}

// pause returns the next pause after an unexplained refusal: twice the one
// before, at most MaxPause, and between half and all of that by chance, so that
// programs which share an account do not keep in step.
func (l *Limiter) pause() time.Duration {
	d := min(l.tau(), l.cfg.MaxPause)
	for range l.pauses {
		if d >= l.cfg.MaxPause/2 {
			d = l.cfg.MaxPause
			break
		}
		d *= 2
	}
	l.pauses++
	return time.Duration(float64(d) * (0.5 + l.cfg.Rand()/2))
}

// probeEnded learns from a probe whose answer had no headers. A slot that was
// there may not be the only one, so the next probe follows at once; after four
// in a row (16 where a refusal costs a long silence) it doubles, where a request
// above the limit is known to be refused cleanly.
func (l *Limiter) probeEnded(o Outcome) {
	if o.Created == 0 {
		l.streak, l.stride = 0, 1
		l.probeAt = o.Done.Add(l.tau())
		return
	}
	l.streak += o.Created
	l.stride = 1
	enough := 4
	if l.hushed {
		enough = 16
	}
	if l.lone && l.streak >= enough && o.Created == o.Sent {
		l.stride = 2 * o.Sent
	}
	l.probeAt = o.Done
}
