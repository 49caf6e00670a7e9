package delivery

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weirhq/weir/schema"
)

// Bounds of what is done at one time.
const (
	mostBusy  = 8  // requests of one lane
	readAhead = 16 // outcomes that were never tried, and can be
	refusals  = 10 // faults of outcomes in a row that are the endpoint's
	// spoilt is how often an endpoint that works must have failed with an outcome,
	// which takes an hour at least, until that is the outcome's fault.
	spoilt = 20
)

// item is an outcome that is not done.
type item struct {
	Held
	kind   string
	body   []byte // nil: to be read again
	last   time.Time
	busy   bool
	asking bool // it was sent to find out whether the endpoint works again
	failed int  // how often the endpoint failed with it that worked before, by this process
	unkept bool // its copy could not be made
}

// rests reports whether an item that could not be copied is not to be touched yet.
func (it *item) rests(now time.Time) bool { return it.unkept && it.Next.After(now) }

// line is what a lane has to deliver, as far as it was read, and how its endpoint
// does. It does nothing itself: times are arguments. One goroutine has it.
type line struct {
	giveUp time.Duration
	chance func() float64 // from 0 to 1

	stream time.Time
	read   uint64  // everything up to it is in open, or is done
	open   []*item // by sequence

	since    time.Time // when the endpoint began to fail; zero: it does not
	reason   string
	failures int       // questions in a row that it failed
	askAt    time.Time // when it is asked again
	refused  int       // outcomes in a row that it refused
	seen     bool      // that it fails, by this process

	changes int // of what place says, or more
}

func newLine(p Place, giveUp time.Duration) *line {
	l := &line{giveUp: giveUp, chance: rand.Float64, stream: p.Stream, read: p.Floor, since: p.Since, reason: p.Reason}
	for _, h := range p.Held {
		l.open = append(l.open, &item{Held: h, last: h.First})
	}
	slices.SortFunc(l.open, func(a, b *item) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return l
}

func (l *line) failing() bool { return !l.since.IsZero() }

// hungry reports whether more is to be read.
func (l *line) hungry() bool {
	return len(l.open)-len(l.held()) < readAhead && len(l.open) < mostOpen
}

// held are the items that failed, and those that wait behind one of them.
func (l *line) held() map[*item]bool {
	held, behind := make(map[*item]bool), make(map[string]bool)
	for _, it := range l.open {
		if !it.First.IsZero() || behind[it.Intent] {
			held[it] = true
			behind[it.Intent] = it.Intent != ""
		}
	}
	return held
}

// add takes what was read; skip says that nobody wants it.
func (l *line) add(it *item, skip bool) {
	l.read = it.Sequence
	l.changes++
	if !skip {
		l.open = append(l.open, it)
	}
}

// done takes an item out.
func (l *line) done(it *item) {
	l.changes++
	l.open = slices.DeleteFunc(l.open, func(o *item) bool { return o == it })
}

// pick returns what is to be sent now, which it marks as busy, and when to look
// again if nothing happens before; zero: there is nothing to wait for.
func (l *line) pick(now time.Time) (send []*item, wake time.Time) {
	ready, busy := l.ready(now)
	if l.failing() {
		return l.ask(ready, busy, now)
	}
	for _, it := range ready {
		switch {
		case it.Next.After(now):
			wake = earlier(wake, it.Next)
		case busy < mostBusy:
			busy++
			it.busy, it.asking = true, false
			send = append(send, it)
		}
	}
	return send, wake
}

// ask picks the one outcome that a failing endpoint is asked with: of those that
// were tried longest ago, or never, the oldest.
func (l *line) ask(ready []*item, busy int, now time.Time) (send []*item, wake time.Time) {
	switch {
	case busy > 0 || len(ready) == 0:
		return nil, time.Time{}
	case l.askAt.After(now):
		return nil, l.askAt
	}
	it := slices.MinFunc(ready, func(a, b *item) int {
		return cmp.Or(a.last.Compare(b.last), cmp.Compare(a.Sequence, b.Sequence))
	})
	it.busy, it.asking = true, true
	return []*item{it}, time.Time{}
}

// ready are the items that may be sent as far as the order of their events goes.
func (l *line) ready(now time.Time) (ready []*item, busy int) {
	before := make(map[string]bool)
	for _, it := range l.open {
		switch {
		case it.busy:
			busy++
		case it.rests(now):
		case it.Intent == "" || !before[it.Intent]:
			ready = append(ready, it)
		}
		before[it.Intent] = true
	}
	return ready, busy
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// settle notes what a try has shown, and reports whether the item is over: by a
// 2xx, or because it is to be given up.
func (l *line) settle(it *item, v Verdict, now time.Time) (over bool) {
	it.busy, it.body, it.last = false, nil, now
	l.changes++
	if v.Fault == Own {
		if l.refused++; l.refused >= refusals {
			v.Fault, v.Reason = Endpoint, "outcome after outcome is refused, the last one with "+v.Reason
		}
	}
	switch v.Fault {
	case Delivered:
		l.refused = 0
		l.works()
		return true
	case Own:
		l.works() // it understood what it refused
	case Endpoint:
		l.fails(it, v, now)
	case Gone:
	}
	it.Reason = v.Reason
	if it.First.IsZero() {
		it.First = l.firstFailure(it, now)
	}
	switch {
	case v.Fault == Own:
		it.Tries++
		it.Next = now.Add(max(pauseAfter(it.Tries, l.chance()), v.After))
		if end := it.First.Add(l.giveUp); it.Next.After(end) {
			it.Next = end // the last try comes when its time is over, and not a day later
		}
	case v.Fault == Endpoint && !it.asking:
		it.failed++
		it.Next = now.Add(probeAfter(it.failed, l.chance()))
	}
	return v.Fault == Gone || now.Sub(it.First) >= l.giveUp
}

// firstFailure is since when an item cannot be delivered: if the endpoint fails,
// since it does, or since the item was published.
func (l *line) firstFailure(it *item, now time.Time) time.Time {
	if !l.failing() {
		return now
	}
	if it.Published.After(l.since) && it.Published.Before(now) {
		return it.Published
	}
	return l.since
}

// works notes that the endpoint does.
func (l *line) works() {
	l.changes++
	l.since, l.reason, l.failures, l.askAt, l.seen = time.Time{}, "", 0, time.Time{}, false
}

// fails notes that it does not.
func (l *line) fails(it *item, v Verdict, now time.Time) {
	if !l.failing() {
		l.since = now
	}
	l.seen, l.reason = true, v.Reason
	if l.failures == 0 || it.asking {
		l.failures++
		l.askAt = now.Add(probeAfter(l.failures, l.chance()))
	}
	if at := now.Add(v.After); v.After > 0 && at.After(l.askAt) {
		l.askAt = at
	}
}

// lost are the items that are to be given up without a try of their own: the
// endpoint has failed for as long as they may wait, and did so just now; or more
// have faults of their own, with what waits behind them, than can be tried again.
func (l *line) lost(now time.Time) (lost []*item) {
	if l.failing() {
		for _, it := range l.open {
			if l.seen && !it.busy && now.Sub(or(it.First, l.firstFailure(it, now))) >= l.giveUp {
				it.Reason = cmp.Or(it.Reason, l.reason)
				lost = append(lost, it)
			}
		}
		return lost
	}
	over := len(l.held()) - mostHeld
	if over <= 0 {
		return nil
	}
	for _, it := range l.open {
		if !it.busy && (it.Tries > 0 || it.failed >= spoilt) {
			lost = append(lost, it)
		}
	}
	slices.SortStableFunc(lost, func(a, b *item) int { return cmp.Compare(b.Tries, a.Tries) })
	return lost[:min(over, len(lost))]
}

// or is the first of the two that is a time.
func or(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

// place is what is to be stored.
func (l *line) place() Place {
	p := Place{Stream: l.stream, Floor: l.read, Since: l.since, Reason: cut(l.reason)}
	held := l.held()
	for _, it := range l.open {
		if !held[it] {
			p.Floor = it.Sequence - 1
			break
		}
		h := it.Held
		h.Reason = schema.Cut(h.Reason, mostHeldReason)
		p.Held = append(p.Held, h)
	}
	return p
}
