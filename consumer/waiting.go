package consumer

import (
	"maps"
	"sync"
)

// waits counts a lane's events that wait, by cause, for whoever displays it: nothing
// is decided by it.
//
// What was given back to the broker is known message by message, until it is
// delivered again. What was postponed may be any number, so that only its counts are
// kept; the sweep counts it anew at each start and every hour, and what happens while
// it counts may be wrong by as much until then.
type waits struct {
	mu    sync.Mutex
	given map[place]string // the cause; at most mostGiven
	later map[string]int   // by cause
}

// mostGiven is how many messages are known that were given back: as many as the
// broker delivers without hearing of them (MaxAckPending).
const mostGiven = 10_000

func newWaits() waits {
	return waits{given: make(map[place]string), later: make(map[string]int)}
}

// put notes why a message is about to be given back.
func (w *waits) put(m Message, cause string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.given) < mostGiven {
		w.given[placeOf(m)] = cause
	}
}

// came notes that a message is here again.
func (w *waits) came(m Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.given, placeOf(m))
}

// postponed reports whether no message is left in the lane's stream for the intent.
func (in Intent) postponed() bool { return in.State == Waiting && in.Later }

// postponed notes that an intent's event is about to be postponed.
func (w *waits) postponed(in Intent) { w.add(in, 1) }

// back notes that an event came whose intent may be postponed.
func (w *waits) back(in Intent) {
	if in.postponed() {
		w.add(in, -1)
	}
}

func (w *waits) add(in Intent, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	cause := causeOf(in)
	w.later[cause] = max(0, w.later[cause]+n)
}

// recount replaces the counts of what was postponed.
func (w *waits) recount(later map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.later = later
}

// counts returns how many messages were given back, and how many events postponed,
// by cause.
func (w *waits) counts() (given, later map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	given = make(map[string]int)
	for _, cause := range w.given {
		given[cause]++
	}
	return given, maps.Clone(w.later)
}

// sums returns how many events wait, by cause.
func (w *waits) sums() map[string]int {
	all, later := w.counts()
	for cause, n := range later {
		if n > 0 {
			all[cause] += n
		}
	}
	return all
}
