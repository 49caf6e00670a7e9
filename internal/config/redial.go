package config

import (
	"slices"
	"time"

	"github.com/weirhq/weir/schema"
)

// Redial is when people are called again whom a call did not reach.
type Redial struct {
	// After is how long after the end of a call the next one is made, for each redial
	// in its turn: one to ten, each 10s to 72h.
	After []time.Duration `yaml:"after"`
	// Attempts is how many redials there are, up to ten, if there are more than After
	// has: the last wait is that of all further ones.
	Attempts int `yaml:"attempts"`
	// On are the ends after which a call is made again: unanswered, which is the
	// default, or failed.
	On []string `yaml:"on"`
}

func (r *Redial) defaults() { r.On = []string{"unanswered"} }

// Waits are the waits before each redial; none of a nil Redial.
func (r *Redial) Waits() []time.Duration {
	if r == nil || len(r.After) == 0 {
		return nil
	}
	waits := slices.Clone(r.After)
	for len(waits) < r.Attempts {
		waits = append(waits, waits[len(waits)-1])
	}
	return waits
}

// Bounds of redials. A wait fits into what an event is kept for at least
// (Events.Keep), with a day for what it then waits for; all of them into what the
// ledger remembers.
const (
	maxRedials       = schema.MostRedials
	leastBeforeACall = 10 * time.Second // as in a rehearsal with the simulator
	mostBeforeACall  = 72 * time.Hour
)

// redial checks when the lane at path calls people again.
func (d *decoder) redial(path string, r *Redial) {
	if r == nil || !d.read(path) {
		return
	}
	d.needed(path + ".after")
	if at := path + ".after"; d.read(at) && (len(r.After) == 0 || len(r.After) > maxRedials) {
		d.add(at, "must have 1 to %d waits, one for each redial", maxRedials)
	}
	for i, at := range d.whole(path+".after", len(r.After)) {
		within(d, at, r.After[i], leastBeforeACall, mostBeforeACall)
	}
	if at := path + ".attempts"; d.read(at) && d.read(path+".after") {
		within(d, at, r.Attempts, len(r.After), maxRedials)
	}
	if at := path + ".on"; d.read(at) && len(r.On) == 0 {
		d.add(at, "is empty: leave it out for unanswered")
	}
	for i, at := range d.whole(path+".on", len(r.On)) {
		switch end := r.On[i]; end {
		case "busy":
			d.add(at, "is told by no provider: to whom it happened, a call ended unanswered or failed")
		default:
			d.oneOf(at, end, "unanswered", "failed")
		}
		if slices.Contains(r.On[:i], r.On[i]) {
			d.add(at, "is there already")
		}
	}
}
